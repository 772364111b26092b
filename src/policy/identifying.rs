//! Names of fields that make one think of a person, in some of the languages that fields are named in.
//!
//! It is a net under people: a public field with such a name is warned of, and any other name passes.

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// What a field is that somebody should look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looks {
    /// It may say who somebody is.
    Identifying,
    /// It may say of somebody what Article 9 names (health, faith, ethnic origin and so on), or Article 10.
    Special,
    /// Whoever writes it may write anything, about anybody.
    FreeText,
}

/// Where in a field's name a word must be.
#[derive(Debug, Clone, Copy)]
enum At {
    /// Anywhere, as a word of its own, or as several.
    Anywhere,
    /// At the beginning of a word that is put together of several: Telefonnummer, Adresszeile.
    Beginning,
    /// At the end: a `customer_note` is text, a `note_id` is none.
    End,
}

use At::{Anywhere, Beginning, End};
use Looks::{FreeText, Identifying, Special};

/// The words, in lower case and without accents; German ones that have an umlaut in both spellings. The order of
/// languages in a row: English, German, French, Spanish and Portuguese, Italian, Dutch, others.
///
/// What is mostly something else is left out: `signature`, `fingerprint`, `message`, `diagnostics`, `partner`.
#[rustfmt::skip]
const WORDS: &[(Looks, At, &[&str])] = &[
    // Names of people.
    (Identifying, Anywhere, &[
        "name", "surname", "firstname", "lastname", "fullname", "maidenname", "nickname", "username", "login",
        "vorname", "nachname", "zuname", "rufname", "spitzname", "familienname", "kundenname", "benutzername",
        "madchenname", "maedchenname", "ansprechpartner", "anrede",
        "nom", "prenom", "prenoms",
        "nombre", "nombres", "apellido", "apellidos", "sobrenome", "apelido",
        "nome", "cognome",
        "naam", "voornaam", "achternaam",
        "imie", "nazwisko", "jmeno", "prijmeni",
        "namn", "fornamn", "efternamn", "navn", "fornavn", "efternavn", "etternavn", "nimi", "etunimi", "sukunimi",
        "soyad", "soyadi", "ονομα", "επωνυμο", "имя", "фамилия", "отчество", "імʼя", "прізвище",
    ]),
    // How they are reached.
    (Identifying, Anywhere, &[
        "mail", "email", "phone", "telephone", "mobile", "landline", "fax", "tel", "telnr", "telno",
        "mobil", "mobilnummer", "mobiltelefon", "mobilnr", "festnetz", "rufnummer", "mailadresse", "emailadresse",
        "mailaddress",
        "courriel",
        "correo", "movil", "telemovel", "celular",
        "cellulare",
        "puhelin", "телефон",
    ]),
    (Identifying, Beginning, &["telefon", "telefoon", "handy"]),
    // Where they are.
    (Identifying, Anywhere, &[
        "address", "street", "house number", "housenumber", "zip", "postcode", "postal code", "city", "town",
        "latitude", "longitude", "lat", "lng", "gps", "location", "geolocation", "ip",
        "strasse", "hausnummer", "hausnr", "plz", "postleitzahl", "ort", "wohnort", "stadt", "standort",
        "rue", "code postal", "ville",
        "direccion", "domicilio", "calle", "ciudad", "codigo postal", "morada", "endereco", "cidade",
        "indirizzo", "citta",
        "straat", "woonplaats",
        "ulica", "ulice", "miasto", "gata", "gade", "osoite", "διευθυνση", "адрес",
    ]),
    (Identifying, Beginning, &["adres", "anschrift"]),
    // Papers, and the numbers that states and insurers give.
    (Identifying, Anywhere, &[
        "passport", "id card", "idcard", "identity card", "driving licence", "driver license", "drivers license",
        "ssn", "social security", "national id", "national insurance", "tax", "plate",
        "reisepass", "passnummer", "passnr", "versichertennummer", "versichertennr", "versicherungsnummer", "svnr",
        "kennzeichen", "nummernschild",
        "passeport", "immatriculation", "securite sociale",
        "dni", "nif", "matricula", "pasaporte", "cpf", "passaporte",
        "targa", "passaporto", "codice fiscale", "carta identita",
        "kenteken", "bsn", "paspoort",
        "pesel", "rodne cislo", "personnummer", "cpr", "hetu",
    ]),
    (Identifying, Beginning, &[
        "ausweis", "personalausweis", "fuhrerschein", "fuehrerschein", "steuer", "sozialversicherung",
        "rentenversicherung", "rijbewijs",
    ]),
    // Their accounts, and what they earn.
    (Identifying, Anywhere, &[
        "iban", "bic", "account number", "account no", "sort code", "card number", "cardnumber", "credit card",
        "creditcard", "salary", "wage", "wages", "income",
        "kontonummer", "kontonr", "kto", "ktonr", "konto nr", "kontoinhaber", "blz", "bankleitzahl",
        "bankverbindung", "kartennummer", "gehalt", "lohn", "einkommen",
        "numero de compte", "salaire", "revenu",
        "numero de cuenta", "salario", "sueldo",
        "stipendio", "numero conto", "conto corrente",
        "rekeningnummer", "salaris",
    ]),
    (Identifying, Beginning, &["kreditkarte", "gehalts"]),
    // What they are, and how they look and sign.
    (Identifying, Anywhere, &[
        "birthdate", "birthday", "birth", "birthplace", "dob", "age", "gender", "sex", "nationality", "marital",
        "spouse", "occupation", "profession", "employer", "avatar", "photo",
        "alter", "geschlecht", "staatsangehorigkeit", "staatsangehoerigkeit", "nationalitat", "nationalitaet",
        "familienstand", "ehepartner", "beruf", "berufsbezeichnung", "arbeitgeber", "foto", "lichtbild",
        "unterschrift",
        "naissance", "sexe", "nationalite", "etat civil", "conjoint", "metier", "employeur",
        "nacimiento", "nascimento", "edad", "sexo", "nacionalidad", "nacionalidade", "estado civil", "conyuge",
        "profesion", "profissao",
        "nascita", "sesso", "nazionalita", "cittadinanza", "stato civile", "coniuge", "professione",
        "geboortedatum", "geboorteplaats", "leeftijd", "geslacht", "nationaliteit", "burgerlijke staat", "beroep",
        "werkgever", "handtekening",
        "urodzenia", "narozeni", "fodelsedatum", "fodselsdato", "dogum",
    ]),
    (Identifying, Beginning, &["geburts"]),
    // What Articles 9 and 10 name.
    (Special, Anywhere, &[
        "health", "illness", "disease", "sickness", "sick leave", "diagnosis", "diagnoses", "symptom", "symptoms",
        "patient", "therapy", "prescription", "blood type", "bloodtype", "blood group", "bloodgroup", "disability",
        "faith", "belief", "beliefs", "race", "racial", "political", "politics", "trade union", "union member",
        "union membership", "dna", "genome", "criminal", "conviction", "convictions",
        "symptome", "therapie", "blutgruppe", "behinderung", "glaube", "rasse", "politisch", "politische",
        "weltanschauung",
        "sante", "maladie", "groupe sanguin", "handicap", "grossesse", "confession", "syndicat",
        "opinion politique", "opinions politiques", "casier judiciaire",
        "salud", "enfermedad", "diagnostico", "grupo sanguineo", "discapacidad", "embarazo", "raza", "sindicato",
        "saude", "doenca", "deficiencia", "gravidez", "raca",
        "salute", "malattia", "diagnosi", "gruppo sanguigno", "disabilita", "gravidanza", "fede", "razza",
        "sindacato",
        "bloedgroep", "geloof", "godsdienst", "vakbond", "strafblad",
    ]),
    (Special, Beginning, &[
        "pregnan", "religio", "ethni", "etni", "sexual", "sexuel", "genet", "biometr", "medicat", "vaccin",
        "krank", "gesundheit", "diagnose", "medikament", "impf", "schwanger", "schwerbehind", "allerg", "konfession",
        "gewerkschaft", "parteimitglied", "parteizugeh", "vorstraf", "strafregister",
        "medicament", "alerg", "gezondheid", "ziekte", "zwanger", "zorgverzeker",
    ]),
    // Where people write what they like.
    (FreeText, End, &[
        "comment", "comments", "note", "notes", "memo", "remark", "remarks", "feedback", "free text", "freetext",
        "payment reference", "remittance information",
        "kommentar", "kommentare", "notiz", "notizen", "bemerkung", "bemerkungen", "anmerkung", "anmerkungen",
        "vermerk", "freitext", "betreff", "verwendungszweck",
        "commentaire", "commentaires", "remarque", "remarques", "texte libre",
        "comentario", "comentarios", "nota", "notas", "observacion", "observaciones", "asunto", "texto libre",
        "observacao", "observacoes", "assunto",
        "commento", "commenti", "osservazione", "osservazioni", "causale", "testo libero",
        "opmerking", "opmerkingen", "notitie", "notities", "toelichting",
        "uwagi", "komentarz", "poznamka", "kommentti",
    ]),
];

/// What a field's name makes one think of.
pub(super) fn looks(name: &str) -> Option<Looks> {
    let name = words(name);
    // What is one word in the table is two in `PassNr` and in `blut_gruppe`.
    let parts: Vec<&str> = name.split_whitespace().collect();
    let pairs: Vec<String> = parts.windows(2).map(<[&str]>::concat).collect();
    let has = |at: At, word: &str| match at {
        Anywhere => name.contains(&format!(" {word} ")) || pairs.iter().any(|pair| pair == word),
        Beginning => name.contains(&format!(" {word}")),
        End => name.ends_with(&format!(" {word} ")),
    };
    let mut rows = WORDS.iter();
    let found = rows.find(|(_, at, words)| words.iter().any(|word| has(*at, word)));
    found.map(|(looks, ..)| *looks)
}

/// The words of a name in lower case and without accents, each between single spaces: `PrénomUsuel2` is
/// ` prenom usuel `.
fn words(name: &str) -> String {
    let plain: Vec<char> = name.nfd().filter(|character| !is_combining_mark(*character)).collect();
    let mut words = String::from(" ");
    for (at, &character) in plain.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|before| plain.get(before));
        let is_lower = |near: Option<&char>| near.is_some_and(|near| near.is_lowercase());
        // Of `IBANNumber` the second word begins where small letters do.
        let begins = is_lower(before)
            || before.is_some_and(|near| near.is_uppercase()) && is_lower(plain.get(at + 1));
        if character.is_uppercase() && begins {
            words.push(' ');
        }
        match character {
            'ß' | 'ẞ' => words.push_str("ss"),
            'ø' | 'Ø' => words.push('o'),
            'ł' | 'Ł' => words.push('l'),
            'ı' => words.push('i'),
            _ if character.is_alphabetic() => words.extend(character.to_lowercase()),
            _ if words.ends_with(' ') => {}
            _ => words.push(' '),
        }
    }
    if !words.ends_with(' ') {
        words.push(' ');
    }
    words
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[track_caller]
    fn all_look(expected: Option<Looks>, names: &str) {
        for name in names.split_whitespace() {
            assert_eq!(looks(name), expected, "{name}: {:?}", words(name));
        }
    }

    #[test]
    fn names_of_fields_that_identify_people_are_known_in_several_languages() {
        all_look(
            Some(Identifying),
            "name firstName first_name E-Mail emailAddress street IBAN ip Vorname kunden-nachname geburtsdatum \
             GeburtsOrt Straße STRASSE Telefonnummer Anschrift lieferadresse_adresszeile Kennzeichen SteuerID prénom \
             PrénomUsuel adresse code_postal apellidos teléfono dirección fecha_nacimiento cognome codiceFiscale \
             achternaam geboortedatum imię nazwisko příjmení förnamn fødselsdato sukunimi soyadı Όνομα Фамилия endereço",
        );
        all_look(
            Some(Identifying),
            "personalausweis Personalausweisnummer passnummer PassNr führerscheinnummer fuehrerschein telNr tel \
             maedchenname mädchenname MÄDCHENNAME gehalt gehaltsgruppe beruf ktonr ktoNr kto_nr bic ort stadt \
             unterschrift salary city ville ciudad città woonplaats salaire sueldo stipendio salaris métier profesión \
             professione beroep handtekening age Alter sexo",
        );
        // Of letters that are all large, and with numbers at them.
        all_look(
            Some(Identifying),
            "IBANNumber BICCode IPAddress PLZOrt address1 address2line name_2 Tel1 HausNr MobilNr",
        );
    }

    #[test]
    fn names_of_fields_that_tell_what_article_9_names_are_known() {
        all_look(
            Some(Special),
            "krankenkasse Krankenversichertennummer gesundheit gesundheitszustand diagnose diagnosen blutgruppe \
             konfession religion health diagnosis bloodType ethnicity ethnic_origin sexual_orientation tradeUnion \
             politicalOpinion disability pregnancy geneticData biometrics impfstatus schwanger gewerkschaft \
             religionszugehörigkeit vorstrafen santé groupe_sanguin syndicat handicap salud religión etnia sindicato \
             salute malattia gruppoSanguigno gezondheid bloedgroep godsdienst vakbond",
        );
    }

    #[test]
    fn free_text_is_known_where_it_is_the_field_and_not_what_counts_it() {
        all_look(
            Some(FreeText),
            "comment customerComment note internal_notes note2 memo bemerkung verwendungszweck Verwendungszweck1 \
             betreff notiz anmerkungen commentaire observación osservazioni opmerking",
        );
        all_look(
            None,
            "note_id noteId comment_count commentCount memo_type notes_total notification notebook",
        );
    }

    #[test]
    fn names_of_other_things_pass() {
        all_look(
            None,
            "id colour color amount currency country status filename hostname tip recipe plateau emailed Betrag \
             Währung Farbe montant importe kwota type nominal message errorMessage signature fingerprint diagnostics \
             version sha256 subject streamId eventType total price quantity sku order_id orderId customerId productId \
             category language locale createdAt updated_at title description reason state step index position \
             storage page pages usage average image package percentage stage language_code sort sorted report import \
             export port transport support agent latency late telemetry belong update candidate interface traceId \
             grace brace embrace unisex incoming cities_total capacity velocity scorte orts alternative altered \
             menge preis artikel bestellung rechnung kategorie sprache anzahl",
        );
    }

    #[test]
    fn each_word_is_in_the_form_that_names_are_brought_to() {
        let mut seen = BTreeSet::new();
        for word in WORDS.iter().flat_map(|(.., words)| *words) {
            assert_eq!(words(word), format!(" {word} "), "it would never be found");
            seen.insert(word);
        }
        assert!(seen.len() > 300, "{}", seen.len());
    }
}
