"""Which libraries the loader of an image takes for a program, by the rules of that loader: glibc's or musl's."""
