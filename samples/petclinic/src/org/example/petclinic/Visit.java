package org.example.petclinic;

import java.time.LocalDate;

/** A visit of a pet to the clinic. */
public record Visit(int id, LocalDate day, String reason) {
}
