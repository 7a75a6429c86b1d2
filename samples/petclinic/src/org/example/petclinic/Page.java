package org.example.petclinic;

import java.util.List;

/** The page of the clinic: all owners, their pets and the pets' visits. */
final class Page {
    private Page() {
    }

    static String of(String title, List<Owner> owners) {
        StringBuilder page = new StringBuilder();
        page.append("""
                <!doctype html>
                <html lang="en">
                <meta charset="utf-8">
                <title>%1$s</title>
                <h1>%1$s</h1>
                """.formatted(escape(title)));
        for (Owner owner : owners) {
            page.append("<h2>%s, %s</h2>%n<ul>%n".formatted(escape(owner.name()), escape(owner.city())));
            for (Pet pet : owner.pets()) {
                page.append("<li>%s (%s)%n".formatted(escape(pet.name()), escape(pet.species())));
                for (Visit visit : pet.visits()) {
                    page.append("<br>%s: %s%n".formatted(visit.day(), escape(visit.reason())));
                }
            }
            page.append("</ul>\n");
        }
        return page.append("</html>\n").toString();
    }

    private static String escape(String text) {
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\"", "&quot;");
    }
}
