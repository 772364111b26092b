//! Rules, names, subjects, owners.
use super::*;
use crate::event::OwnerChange;

fn example(name: &str) -> Policy {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    Policy::load(&path.join("policy.toml")).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn no_rules_seal_everything_and_a_stream_is_its_own_subject() {
    let none = Policy::sealed_by_default();
    assert_eq!(Policy::parse("").unwrap().digest(), none.digest());
    let pieces = cut("", "user-1", "X", r#"{"a":1}"#).unwrap();
    assert_eq!((pieces.layout, pieces.subject.as_str()), (Layout::Sealed, "user-1"));
    assert!(pieces.public.is_none() && !pieces.clear);
    assert_eq!(pieces.parts.len(), 1);
    assert_eq!(pieces.parts[0].body, Body::Whole);
    assert_eq!(pieces.parts[0].fields, ["*"]);
    assert_eq!(none.rule_for(&stream("x-1")).unwrap().default_subject, Some(subject("x-1")));
}

#[test]
fn the_bank_is_carved_as_its_policy_says() {
    let bank = example("bank");
    let plan = bank.rule_for(&stream("user-456")).unwrap();
    let names = plan.split.unwrap();
    assert_eq!(names.public, stream("user-public-456"));
    assert_eq!(names.private, stream("user-private-456"));
    let plan = bank.rule_for(&stream("ledger-1")).unwrap();
    assert!(plan.declares_owners && plan.split.is_none());
    assert_eq!(plan.split_names.unwrap().public, stream("ledger-public-1"));

    let cut = |name: &str, event_type: &str, data: &str| {
        let facts = EventFacts {
            stream: &stream(name),
            event_type: &EventType::new(event_type).unwrap(),
            subject: None,
        };
        bank.cut(&facts, &Json::parse(data).unwrap().into(), None).unwrap()
    };
    let data = r#"{"surname":"Ringelnatz","id":456,"plate":"LWL-J 7","colour":"red"}"#;
    let user = cut("user-456", "UserRegistered", data);
    assert_eq!(user.public.as_ref().unwrap().as_str(), r#"{"id":456,"plate":"LW","colour":"red"}"#);
    assert_eq!(user.parts[0].fields, ["/plate", "*"]);
    assert_eq!(rebuild(&user, |_| true), data);

    let opened = cut("bankaccount-1", "AccountOpened", r#"{"owner":"user-456"}"#);
    assert_eq!(opened.owners, [OwnerChange::Add(subject("user-456"))]);
    assert!(opened.clear && opened.parts.is_empty() && !opened.any_owner);
    let moved = cut("bankaccount-1", "AccountTransferred", r#"{"newOwner":"user-7","why":""}"#);
    assert_eq!(moved.owners, [OwnerChange::Replace(subject("user-7"))]);

    let data = r#"{"amount":5,"text":"rent","counterparty":{"user":"user-9","iban":"X"}}"#;
    let booked = cut("ledger-1", "Booked", data);
    assert_eq!(booked.public.as_ref().unwrap().as_str(), r#"{"amount":5}"#);
    assert_eq!(booked.parts.len(), 2);
    assert_eq!(booked.parts[1].subject, subject("user-9"));
    assert_eq!(booked.parts[1].fields, ["/counterparty/iban"]);
    assert_eq!(rebuild(&booked, |_| true), data);
    assert_eq!(
        rebuild(&booked, |who| who.as_str() == "user-9"),
        r#"{"amount":5,"counterparty":{"iban":"X"}}"#
    );
    assert_eq!(
        rebuild(&booked, |who| who.as_str() != "user-9"),
        r#"{"amount":5,"text":"rent","counterparty":{"user":"user-9"}}"#
    );
    assert!(cut("ledger-1", "FeesPublished", r#"{"anything":[1]}"#).clear);
}

#[test]
fn the_halves_of_a_split_are_no_streams_to_append_to() {
    let policy = policy("[[stream]]\nmatch = '{tenant}/user-{id}'\nlayout = 'split'");
    for (name, public) in [("acme/user-public-1", true), ("acme/user-private-1", false)] {
        let name = stream(name);
        assert!(matches!(policy.rule_for(&name), Err(PolicyRefusal::PhysicalName { .. })));
        let logical = stream("acme/user-1");
        assert_eq!(policy.logical_of_public(&name), public.then_some(logical));
    }
    assert_eq!(policy.logical_of_public(&stream("acme/user-1")), None);
    assert_eq!(policy.logical_of_public(&stream("user-public-1")), None);
    assert!(policy.rule_for(&stream("acme/user-publicity")).is_ok());
}

#[test]
fn the_longest_literal_prefix_wins() {
    let policy = policy(
        "[[stream]]\nmatch = '{any}-{id}'\n[[stream]]\nmatch = 'user-{id}'\nlayout = 'inline'\n\
         [[stream]]\nmatch = 'user-0'\nlayout = 'split'\n"
            .replace("match = 'user-0'\nlayout = 'split'", "match = 'user-0{x}'\nlayout = 'split'")
            .as_str(),
    );
    let layout = |name: &str| policy.rule_for(&stream(name)).unwrap().layout;
    assert_eq!(layout("bank-1"), Layout::Sealed);
    assert_eq!(layout("user-1"), Layout::Inline);
    assert_eq!(layout("user-01"), Layout::Split);
}

#[test]
fn an_events_own_subject_must_agree_with_the_policy() {
    let rule = "[[stream]]\nmatch = 'repo-{id}'\nsubject = 'user-{/by}'\notherwise = 'stream'";
    let of = |given, data: &str| cut_as(rule, "repo-1", "X", given, data).map(|c| c.subject);
    assert_eq!(of(None, r#"{"by":5}"#), Ok(subject("user-5")));
    assert_eq!(of(Some("user-5"), r#"{"by":5}"#), Ok(subject("user-5")));
    let refused = of(Some("user-6"), r#"{"by":5}"#);
    assert!(matches!(refused, Err(PolicyRefusal::SubjectContradicts { .. })));
    for nothing in ["{}", r#"{"by":null}"#, "7"] {
        assert_eq!(of(None, nothing), Ok(subject("repo-1")));
        assert_eq!(of(Some("repo-1"), nothing), Ok(subject("repo-1")));
        let refused = of(Some("user-6"), nothing);
        assert!(matches!(refused, Err(PolicyRefusal::SubjectNotExpected { .. })));
    }
    for odd in [r#"{"by":{}}"#, r#"{"by":[5]}"#, r#"{"by":""}"#] {
        assert!(matches!(of(None, odd), Err(PolicyRefusal::NotScalar { .. })), "{odd}");
    }
    let strict = "[[stream]]\nmatch = 'repo-{id}'\nsubject = 'user-{/by}'";
    let missing = cut(strict, "repo-1", "X", "{}").unwrap_err();
    assert!(matches!(missing, PolicyRefusal::Missing { .. }));
}

#[test]
fn an_event_names_somebody_else_only_where_a_rule_lets_it() {
    let of = |rule: &str, given, data: &str| {
        cut_as(rule, "user-1", "X", given, data).map(|pieces| pieces.subject)
    };
    let rule = |words: &str| format!("[[stream]]\nmatch = 'user-{{id}}'\n{words}");
    let silent =
        ["", &rule(""), &rule("public = ['/a']"), &rule("subject = '{/by}'\notherwise = 'stream'")];
    for policy in silent {
        let refused = of(policy, Some("user-6"), "{}");
        assert!(matches!(refused, Err(PolicyRefusal::SubjectNotExpected { .. })), "{policy}");
        assert_eq!(of(policy, Some("user-1"), "{}"), Ok(subject("user-1")));
        assert_eq!(of(policy, None, "{}"), Ok(subject("user-1")));
    }
    for words in ["otherwise = 'named'", "subject = '{/by}'\notherwise = 'named'"] {
        let named = rule(words);
        assert_eq!(of(&named, Some("user-6"), "{}"), Ok(subject("user-6")));
        assert_eq!(of(&named, None, "{}"), Ok(subject("user-1")));
        let looks = of(&named, Some("anna@example.org"), "{}");
        assert!(matches!(looks, Err(PolicyRefusal::LooksPersonal { .. })), "{looks:?}");
    }
    let template = rule("subject = '{/by}'\notherwise = 'named'");
    let contradicts = of(&template, Some("user-6"), r#"{"by":"user-5"}"#);
    assert!(matches!(contradicts, Err(PolicyRefusal::SubjectContradicts { .. })));
    let others = |policy: &str| {
        Policy::parse(policy).unwrap().rule_for(&stream("user-1")).unwrap().lets_others_in
    };
    assert!(!others("") && !others(&rule("public = ['/a']")));
    assert!(others(&rule("otherwise = 'named'")) && others(&template));
    assert!(others(&rule("[[stream.field]]\npointer = '/a'\nsubject = '{/by}'")));
}

#[test]
fn what_looks_personal_or_is_reserved_is_refused() {
    let by = "[[stream]]\nmatch = 'repo-{id}'\nsubject = '{/by}'";
    let personal = |result: Result<CutEvent, PolicyRefusal>| {
        let refusal = result.unwrap_err();
        assert!(matches!(refusal, PolicyRefusal::LooksPersonal { .. }), "{refusal:?}");
        assert!(!format!("{refusal} {refusal:?}").contains("anna"));
    };
    personal(cut("", "user-anna@example.org", "X", "{}"));
    personal(cut("", "user-1", "anna@example.org", "{}"));
    personal(cut(by, "repo-1", "X", r#"{"by":"anna@example.org"}"#));
    personal(cut_as("", "user-1", "X", Some("anna@example.org"), "{}"));

    let reserved = |result: Result<CutEvent, PolicyRefusal>| {
        assert!(matches!(result.unwrap_err(), PolicyRefusal::Reserved { .. }));
    };
    reserved(cut("", "oubliette-announcements", "X", "{}"));
    reserved(cut("", "user-1", "SubjectForgotten", "{}"));
    reserved(cut(by, "repo-1", "X", r#"{"by":"oubliette-x"}"#));
    for key in ["$sealed", r"\u0024sealed", r"$\u0073ealed", r"$seale\u0064"] {
        reserved(cut("", "user-1", "X", &format!(r#"{{"{key}":1}}"#)));
        let open = "[[stream]]\nmatch = 'user-{id}'\npublic = ['*']";
        reserved(cut(open, "user-1", "X", &format!(r#"{{"a":1,"{key}":1}}"#)));
    }
    assert!(cut("", "user-1", "X", r#"{"a":{"$sealed":1},"b":"$sealed"}"#).is_ok());
    let bad = cut(by, "repo-1", "X", r#"{"by":"an na"}"#).unwrap_err();
    assert!(matches!(bad, PolicyRefusal::BadName { .. }));
}

#[test]
fn owners_come_from_the_events_that_name_them() {
    let rule = "[[stream]]\nmatch = '{t}/acc-{id}'\non_owner_forgotten = 'shred-on-any'\nowner = [\
        { event = 'Joined', add = '{t}/user-{/who}' }, { event = 'Left', remove = '{/who}' }]";
    let owners = |event: &str, data: &str| {
        cut(rule, "acme/acc-1", event, data).map(|pieces| {
            assert!(pieces.any_owner);
            pieces.owners
        })
    };
    assert_eq!(
        owners("Joined", r#"{"who":7}"#),
        Ok(vec![OwnerChange::Add(subject("acme/user-7"))])
    );
    assert_eq!(owners("Left", r#"{"who":"u"}"#), Ok(vec![OwnerChange::Remove(subject("u"))]));
    assert_eq!(owners("Other", "{}"), Ok(vec![]));
    assert!(matches!(owners("Joined", "{}"), Err(PolicyRefusal::Missing { .. })));
    let itself = owners("Left", r#"{"who":"acme/acc-1"}"#);
    assert_eq!(itself, Err(PolicyRefusal::OwnsItself));
}

#[test]
fn the_digest_names_what_a_policy_says_not_how() {
    let digest = |toml: &str| policy(toml).digest();
    let one = digest("[[stream]]\nmatch='a-{x}'\npublic=['/a','/b']\n[[stream]]\nmatch='b-{x}'");
    let same =
        digest("# c\n[[stream]]\nmatch='b-{x}'\n[[stream]]\nmatch = \"a-{x}\"\npublic=['/b','/a']");
    let other = digest("[[stream]]\nmatch='a-{x}'\npublic=['/a']\n[[stream]]\nmatch='b-{x}'");
    assert_eq!(one, same);
    assert_ne!(one, other);
}

#[test]
fn people_are_warned_of_what_may_identify() {
    let warnings = |toml: &str| policy(toml).warnings().to_vec();
    let found = warnings(
        "[[stream]]\nmatch = 'user-{id}'\npublic = ['/id', '/firstName', '/renamed', '/e-mail']\n\
         [[stream.field]]\npointer = '/plate'\nkeep = 'first 2'",
    );
    let places: Vec<_> = found.iter().map(|warning| (warning.line, warning.column)).collect();
    assert_eq!(places, [(3, 18), (3, 44), (6, 8)]);
    assert_eq!(warnings("[[stream]]\nmatch = 'x-{id}'\npublic = ['*']").len(), 1);
    assert!(warnings("pad = 256").is_empty());
    assert_eq!(policy("pad = 256").pad(), Some(256));
}
