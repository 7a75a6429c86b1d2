package org.example.petclinic;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertTrue;

import java.sql.DriverManager;
import java.sql.SQLException;
import java.time.LocalDate;
import java.util.List;
import org.junit.After;
import org.junit.Before;
import org.junit.Test;

public class ClinicTest {
    private Clinic clinic;

    @Before
    public void open() throws SQLException {
        clinic = new Clinic(DriverManager.getConnection("jdbc:h2:mem:"));
    }

    @After
    public void close() throws SQLException {
        clinic.close();
    }

    @Test
    public void opensWithItsFirstPatients() throws SQLException {
        assertEquals(List.of("Betty Davis", "George Franklin"), clinic.owners().stream().map(Owner::name).toList());
    }

    @Test
    public void keepsVisitsTheLatestFirst() throws SQLException {
        int owner = clinic.addOwner("Ann", "Oslo").id();
        int pet = clinic.addPet(owner, "Rex", "dog").orElseThrow().id();
        clinic.addVisit(pet, LocalDate.of(2025, 1, 1), "first");
        clinic.addVisit(pet, LocalDate.of(2025, 2, 1), "second");
        List<Visit> visits = clinic.owner(owner).orElseThrow().pets().get(0).visits();
        assertEquals(List.of("second", "first"), visits.stream().map(Visit::reason).toList());
    }

    @Test
    public void knowsNoPetsOfStrangers() throws SQLException {
        assertTrue(clinic.addPet(999, "Rex", "dog").isEmpty());
        assertTrue(clinic.addVisit(999, LocalDate.EPOCH, "shot").isEmpty());
    }

    @Test
    public void writesJson() {
        Visit visit = new Visit(1, LocalDate.of(2025, 1, 1), "a \"deep\"\n\\cut");
        assertEquals("[{\"id\":1,\"day\":\"2025-01-01\",\"reason\":\"a \\\"deep\\\"\\u000a\\\\cut\"}]",
                Json.write(List.of(visit)));
    }

    @Test
    public void escapesWhatIsOnThePage() {
        String page = Page.of("<b>", List.of(new Owner(1, "A & B", "<c>", List.of())));
        assertTrue(page, page.contains("<h1>&lt;b&gt;</h1>"));
        assertTrue(page, page.contains("<h2>A &amp; B, &lt;c&gt;</h2>"));
    }
}
