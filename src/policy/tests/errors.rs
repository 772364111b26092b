//! What is wrong with a file is all reported, each with its place.

use super::*;

/// Line, column, kind and a piece of the message, in the order of the file.
fn assert_errors(toml: &str, expected: &[(usize, usize, Problem, &str)]) {
    let errors = Policy::parse(toml).expect_err(toml);
    let found: Vec<_> =
        errors.errors().iter().map(|error| (error.line, error.column, error.problem)).collect();
    let places: Vec<_> = expected.iter().map(|e| (e.0, e.1, e.2)).collect();
    assert_eq!(found, places, "{toml}\n{errors}");
    for (error, (.., piece)) in errors.errors().iter().zip(expected) {
        assert!(error.message.contains(piece), "`{piece}` in `{}`", error.message);
    }
}

#[test]
fn each_mistake_has_its_line_and_column() {
    use Problem::*;
    let rule = "[[stream]]\nmatch = 'user-{id}'\n";
    for (more, line, column, problem, piece) in [
        ("pubilc = []", 3, 1, Word, "unknown field `pubilc`, expected one of"),
        ("public = '/a'", 3, 10, Word, "expected a sequence"),
        ("layout = 'slpit'", 3, 10, Word, "unknown variant `slpit`"),
        ("public = ['a']", 3, 11, Pointer, "begins with `/`"),
        ("public = ['']", 3, 11, Pointer, ""),
        ("public = ['/a', '*']", 3, 17, Conflict, "alone"),
        ("public = ['/a', '/a']", 3, 17, Pointer, "twice"),
        ("public = ['/a', '/a/b']", 3, 17, Pointer, "already"),
        ("public = ['/a']\nlayout = 'sealed'", 4, 10, Conflict, "shows nothing"),
        ("subject = 'user-{nr}'", 3, 11, Template, "captures no `{nr}`"),
        ("subject = 'user-{/a/*}'", 3, 11, Template, "more `*`"),
        ("subject = 'user-{/a'", 3, 11, Template, "never closed"),
        ("subject = ''", 3, 11, Template, "nobody"),
        ("otherwise = 'stream'", 3, 13, Conflict, "take it out"),
        ("subject = '{/a}'\notherwise = 'nothing'", 4, 13, Word, "unknown variant"),
        ("on_owner_forgotten = 'shred'", 3, 22, Conflict, "without `owner`"),
        ("on_owner_forgotten = { retain = '10y' }", 3, 1, NotYet, "not there in this version"),
        (
            "[stream.type.\"Caf\u{e9}\"]\npublic = ['/a']\n[stream.type.\"Cafe\u{301}\"]\npublic = ['/b']",
            3,
            14,
            Word,
            "other code points",
        ),
        ("grace = '30d'", 3, 1, NotYet, "not there in this version"),
        ("forget_on = 'UserDeleted'", 3, 1, NotYet, "`forget_on`"),
        ("owner = [{ event = 'A' }]", 3, 10, Word, "exactly one"),
        ("owner = [{ event = 'A', add = '{/a}', remove = '{/b}' }]", 3, 10, Word, "exactly one"),
        ("owner = [{ event = 'A', add = 'user-{id}' }]", 3, 31, Cycle, "its own owner"),
        ("owner = [{ event = 'a b', add = '{/a}' }]", 3, 20, Word, "white space"),
        ("[[stream.field]]\npointer = 'a'", 4, 11, Pointer, "begins with `/`"),
        ("[[stream.field]]\npointer = '/a'\nkeep = 'first 0'", 5, 8, Word, "`first N`"),
        ("public = ['/a/b']\n[[stream.field]]\npointer = '/a'", 3, 11, Pointer, "never be public"),
        (
            "[[stream.field]]\npointer = '/a'\n[[stream.field]]\npointer = '/*/b'",
            6,
            11,
            Conflict,
            "`/a`",
        ),
        ("[stream.type.X]", 3, 14, Word, "says nothing"),
        ("[stream.type.X]\npublic = ['b']", 4, 11, Pointer, "begins with `/`"),
        ("[[stream]]\nmatch = 'user-{nr}'", 4, 9, Conflict, "line 2"),
        ("[[stream]]\nmatch = 'user-{id}-x'", 4, 9, Conflict, "line 2"),
        ("[[stream]]\nmatch = 'oubliette-{id}'", 4, 9, Pattern, "never match"),
        ("[[stream]]\nmatch = 'a b-{id}'", 4, 9, Pattern, "never match"),
        ("[[stream]]\nmatch = 'x-{id'", 4, 9, Pattern, "never closed"),
        ("[[stream]]\nmatch = 7", 4, 9, Word, "expected a string"),
        ("[[stream]]\nlayout = 'sealed'", 3, 1, Word, "missing field `match`"),
    ] {
        assert_errors(&format!("{rule}{more}"), &[(line, column, problem, piece)]);
    }
    assert_errors("pad = 0", &[(1, 7, Word, "from 1")]);
    assert_errors("pad = -1", &[(1, 7, Word, "")]);
    assert_errors("x = = 1", &[(1, 5, Syntax, "not TOML")]);
    assert_errors("hold = true", &[(1, 1, NotYet, "not there in this version")]);
    assert_errors(
        "[[stream]]\nmatch = 'settings'\nlayout = 'split'",
        &[(3, 10, Conflict, "needs a capture")],
    );
}

#[test]
fn all_mistakes_are_found_at_once() {
    use Problem::*;
    assert_errors(
        "pad = 'x'\nretain = 1\n[[stream]]\nmatch = 'ü-{id'\n[[stream]]\nmatch = 5\nsubjekt = ''\n\
         [[stream]]\nmatch = 'user-{id}'\npublic = ['a', 7, '/ü', 'b']\n[[stream.field]]\nkeep = 1",
        &[
            (1, 7, Word, "string"),
            (2, 1, NotYet, "`retain`"),
            (4, 9, Pattern, "never closed"),
            (6, 9, Word, "expected a string"),
            (7, 1, Word, "`subjekt`"),
            (10, 11, Pointer, "`a`"),
            (10, 16, Word, "expected a string"),
            (10, 25, Pointer, "`b`"),
            (11, 1, Word, "missing field `pointer`"),
            (12, 8, Word, "expected a string"),
        ],
    );
}

#[test]
fn patterns_that_capture_the_halves_of_a_split_are_refused() {
    let split = "[[stream]]\nmatch = 'user-{id}'\nlayout = 'split'\n";
    let other = |pattern: &str| format!("{split}[[stream]]\nmatch = '{pattern}'");
    let refused = [(5, 9, Problem::Conflict, "halves")];
    assert_errors(&other("user-public-{id}"), &refused);
    assert_errors(&other("user-private-7"), &refused);
    assert_errors(&other("user-pub{x}"), &refused);
    assert!(Policy::parse(&other("{kind}-{id}")).is_ok());
}

#[test]
fn streams_that_own_each_other_in_a_circle_are_refused() {
    let owner = |stream: &str, of: &str| {
        format!("[[stream]]\nmatch = '{stream}'\nowner = [{{ event = 'E', add = '{of}' }}]\n")
    };
    let circle = owner("a-{id}", "b-{id}") + &owner("b-{x}", "c-{x}") + &owner("c-{id}", "a-{id}");
    let cycle = |line| (line, 9, Problem::Cycle, "circle");
    assert_errors(&circle, &[cycle(2), cycle(5), cycle(8)]);
    assert!(Policy::parse(&(owner("a-{id}", "b-{id}") + &owner("b-{x}", "c-{x}"))).is_ok());
    assert!(Policy::parse(&owner("a-{id}", "a-{id}x")).is_ok());
}

#[test]
fn errors_name_the_file() {
    let errors = Policy::parse_as("x = = 1", "bank.toml").unwrap_err();
    assert!(errors.to_string().starts_with("bank.toml:1:5: "), "{errors}");
    let errors = Policy::load(Path::new("/no/such/policy.toml")).unwrap_err();
    assert_eq!(errors.errors()[0].problem, Problem::Unreadable);
    assert!(errors.to_string().starts_with("/no/such/policy.toml: "));
}

#[test]
fn the_examples_of_the_manual_are_policies() {
    let manual = include_str!("../../../docs/policy.md");
    let examples: Vec<&str> =
        manual.split("```toml\n").skip(1).filter_map(|text| text.split("```").next()).collect();
    assert!(examples.len() >= 6);
    for example in examples {
        policy(example);
    }
}

#[test]
fn an_event_of_too_many_subjects_is_refused() {
    let rule = "[[stream]]\nmatch = 's-{id}'\nlayout = 'inline'\n\
                [[stream.field]]\npointer = '/p/*/iban'\nsubject = 'user-{/p/*/user}'";
    let of = |count: usize| {
        let people: Vec<_> = (1..count).map(|n| format!(r#"{{"user":{n},"iban":1}}"#)).collect();
        cut(rule, "s-1", "X", &format!(r#"{{"p":[{}]}}"#, people.join(",")))
    };
    assert_eq!(of(1024).unwrap().parts.len(), 1024);
    assert_eq!(of(1025).unwrap_err(), PolicyRefusal::TooManySubjects { most: 1024 });
    assert!(of(20_000).is_err());
}
