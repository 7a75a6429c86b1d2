package org.example.petclinic;

import java.util.List;

/** An owner with all pets. */
public record Owner(int id, String name, String city, List<Pet> pets) {
}
