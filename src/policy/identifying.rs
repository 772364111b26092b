//! Names of fields that make one think of a person, in some of the languages that fields are named in.
//!
//! It is a net under people: a public field with such a name is warned of, and any other name passes.

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// Words, in lower case and without accents. Where a name has them as words of their own, it counts.
const WORDS: &[&str] = &[
    // English
    "name",
    "surname",
    "firstname",
    "lastname",
    "fullname",
    "nickname",
    "username",
    "login",
    "mail",
    "email",
    "phone",
    "telephone",
    "mobile",
    "fax",
    "iban",
    "account number",
    "birthdate",
    "birthday",
    "birth",
    "dob",
    "address",
    "street",
    "zip",
    "postcode",
    "postal code",
    "plate",
    "passport",
    "ssn",
    "social security",
    "tax",
    "ip",
    "avatar",
    "photo",
    "latitude",
    "longitude",
    "location",
    "gender",
    "nationality",
    // German
    "vorname",
    "nachname",
    "zuname",
    "rufname",
    "familienname",
    "kundenname",
    "benutzername",
    "ansprechpartner",
    "anrede",
    "strasse",
    "hausnummer",
    "plz",
    "postleitzahl",
    "wohnort",
    "standort",
    "mobil",
    "mobilnummer",
    "mobiltelefon",
    "rufnummer",
    "mailadresse",
    "emailadresse",
    "mailaddress",
    "kontonummer",
    "kennzeichen",
    "nummernschild",
    "reisepass",
    "sozialversicherungsnummer",
    "versichertennummer",
    "geschlecht",
    "staatsangehorigkeit",
    "staatsangehoerigkeit",
    "foto",
    "lichtbild",
    // French
    "nom",
    "prenom",
    "prenoms",
    "rue",
    "naissance",
    "courriel",
    "code postal",
    "immatriculation",
    "passeport",
    "sexe",
    "nationalite",
    // Spanish and Portuguese
    "nombre",
    "nombres",
    "apellido",
    "apellidos",
    "correo",
    "movil",
    "direccion",
    "domicilio",
    "calle",
    "nacimiento",
    "dni",
    "nif",
    "matricula",
    "pasaporte",
    "sobrenome",
    "apelido",
    "morada",
    "endereco",
    "nascimento",
    "telemovel",
    "celular",
    "cpf",
    "passaporte",
    // Italian
    "nome",
    "cognome",
    "indirizzo",
    "nascita",
    "cellulare",
    "targa",
    "passaporto",
    "codice fiscale",
    // Dutch
    "naam",
    "voornaam",
    "achternaam",
    "straat",
    "geboortedatum",
    "geboorteplaats",
    "kenteken",
    "bsn",
    "paspoort",
    // Polish and Czech
    "imie",
    "nazwisko",
    "ulica",
    "pesel",
    "urodzenia",
    "jmeno",
    "prijmeni",
    "ulice",
    "narozeni",
    "rodne cislo",
    // Scandinavian languages and Finnish
    "namn",
    "fornamn",
    "efternamn",
    "navn",
    "fornavn",
    "efternavn",
    "etternavn",
    "personnummer",
    "cpr",
    "fodelsedatum",
    "fodselsdato",
    "gata",
    "gade",
    "nimi",
    "etunimi",
    "sukunimi",
    "osoite",
    "hetu",
    "puhelin",
    // Turkish, Greek, Russian and Ukrainian
    "soyad",
    "soyadi",
    "dogum",
    "ονομα",
    "επωνυμο",
    "διευθυνση",
    "имя",
    "фамилия",
    "отчество",
    "адрес",
    "телефон",
    "імʼя",
    "прізвище",
];

/// How words begin that are put together of several: Geburtsdatum, Telefonnummer, Adresszeile.
const BEGINNINGS: &[&str] =
    &["geburts", "telefon", "telefoon", "steuer", "adres", "anschrift", "ausweis", "handy"];

/// Whether a field's name makes one think of a person.
pub(super) fn is_identifying(name: &str) -> bool {
    let words = words(name);
    WORDS.iter().any(|word| words.contains(&format!(" {word} ")))
        || words
            .split(' ')
            .any(|word| BEGINNINGS.iter().any(|beginning| word.starts_with(beginning)))
}

/// The words of a name in lower case and without accents, each between spaces: `PrénomUsuel` is
/// ` prenom usuel `.
fn words(name: &str) -> String {
    let mut words = String::from(" ");
    let mut lower = false;
    for character in name.nfd().filter(|character| !is_combining_mark(*character)) {
        if character.is_uppercase() && lower {
            words.push(' ');
        }
        lower = character.is_lowercase();
        match character {
            'ß' => words.push_str("ss"),
            'ø' | 'Ø' => words.push('o'),
            'ł' | 'Ł' => words.push('l'),
            'ı' => words.push('i'),
            _ if character.is_alphanumeric() => words.extend(character.to_lowercase()),
            _ => words.push(' '),
        }
    }
    words.push(' ');
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_fields_that_identify_people_are_known_in_several_languages() {
        for name in [
            "name",
            "firstName",
            "first_name",
            "E-Mail",
            "emailAddress",
            "street",
            "IBAN",
            "ip",
            "Vorname",
            "kunden-nachname",
            "geburtsdatum",
            "GeburtsOrt",
            "Straße",
            "STRASSE",
            "Telefonnummer",
            "Anschrift",
            "lieferadresse_adresszeile",
            "Kennzeichen",
            "SteuerID",
            "prénom",
            "PrénomUsuel",
            "adresse",
            "code_postal",
            "apellidos",
            "teléfono",
            "dirección",
            "fecha_nacimiento",
            "cognome",
            "codiceFiscale",
            "achternaam",
            "geboortedatum",
            "imię",
            "nazwisko",
            "příjmení",
            "förnamn",
            "fødselsdato",
            "sukunimi",
            "soyadı",
            "Όνομα",
            "Фамилия",
            "endereço",
        ] {
            assert!(is_identifying(name), "{name}: {:?}", words(name));
        }
        for name in [
            "id", "colour", "amount", "currency", "country", "status", "filename", "hostname",
            "tip", "recipe", "plateau", "emailed", "Betrag", "Währung", "Farbe", "montant",
            "importe", "kwota", "type", "nominal",
        ] {
            assert!(!is_identifying(name), "{name}: {:?}", words(name));
        }
    }
}
