package org.example.petclinic;

import java.util.List;

/** A pet with its visits, the latest first. */
public record Pet(int id, String name, String species, List<Visit> visits) {
}
