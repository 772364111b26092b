//! Documents, cut.

use super::*;

/// A rule for streams `s-…` with these lines more.
fn rule(more: &str) -> String {
    format!("[[stream]]\nmatch = 's-{{id}}'\n{more}")
}

/// The public part, after checking that the whole goes together again.
fn public(more: &str, data: &str) -> Option<String> {
    let pieces = cut(&rule(more), "s-1", "X", data).unwrap();
    if !pieces.parts.iter().any(|part| part.body == Body::Whole) {
        assert_eq!(rebuild(&pieces, |_| true), data);
    }
    pieces.public.map(|json| json.as_str().to_owned())
}

#[test]
fn only_what_is_listed_is_public() {
    let rule = "public = ['/id', '/a/b', '/lines/*/n']";
    for (data, shown) in [
        (r#"{"id":1,"x":2}"#, Some(r#"{"id":1}"#)),
        (r#"{"x":2}"#, None),
        ("{}", None),
        // A scalar or an array where an object was expected, and the other way round.
        (r#"{"a":"secret"}"#, None),
        (r#"{"a":["secret"]}"#, None),
        (r#"{"id":{"deep":1}}"#, Some(r#"{"id":{"deep":1}}"#)),
        // A container on the way says nothing where it holds nothing public.
        (r#"{"a":{}}"#, None),
        (r#"{"a":{"c":1}}"#, None),
        (r#"{"a":{"c":1,"b":2}}"#, Some(r#"{"a":{"b":2}}"#)),
        // Elements keep their places; nothing is shown of arrays without anything public.
        (r#"{"lines":[{"x":1},{"n":2,"x":3},4]}"#, Some(r#"{"lines":[null,{"n":2},null]}"#)),
        (r#"{"lines":[{"x":1},7]}"#, None),
        (r#"{"lines":[]}"#, None),
        (r#"{"lines":{"k":{"n":1},"l":{"x":1}}}"#, Some(r#"{"lines":{"k":{"n":1}}}"#)),
        (r#"{"lines":"n"}"#, None),
        // Spelled otherwise, still the same member.
        (r#"{"\u0069d":1,"ID":2}"#, Some(r#"{"\u0069d":1}"#)),
    ] {
        assert_eq!(public(rule, data).as_deref(), shown, "{data}");
    }
}

#[test]
fn a_key_that_only_a_star_fits_is_not_public_where_it_looks_personal() {
    let data = r#"{"by":{"anna@example.org":{"n":1},"x":{"n":2}}}"#;
    assert_eq!(public("public = ['/by/*/n']", data).unwrap(), r#"{"by":{"x":{"n":2}}}"#);
    let kept = "[[stream.field]]\npointer = '/by/*/n'\nplaceholder = '?'";
    assert_eq!(public(kept, data).unwrap(), r#"{"by":{"x":{"n":"?"}}}"#);
    let named = "public = ['/by/anna@example.org/n']";
    assert_eq!(public(named, data).unwrap(), r#"{"by":{"anna@example.org":{"n":1}}}"#);
}

#[test]
fn a_residue_is_never_the_whole_value() {
    let of = |keep: &str, value: &str| {
        let field = format!("[[stream.field]]\npointer = '/v'\nkeep = '{keep}'");
        public(&field, &format!(r#"{{"v":{value}}}"#)).map(|text| text[5..text.len() - 1].into())
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(of("first 2", r#""üöä""#), some(r#""üö""#));
    assert_eq!(of("first 3", r#""üöä""#), None);
    assert_eq!(of("first 4", r#""üöä""#), None);
    assert_eq!(of("last 2", r#""a\"b\u00fc""#), some(r#""bü""#));
    assert_eq!(of("last 4", r#""abcd""#), None);
    assert_eq!(of("last 9", r#""abcd""#), None);
    assert_eq!(of("year", r#""1984-02-29""#), some(r#""1984""#));
    assert_eq!(of("year", r#""1984-02""#), some(r#""1984""#));
    for other in [r#""1984""#, r#""19840229""#, r#""Anna""#, r#""1984-x""#, r#""29.2.1984""#] {
        assert_eq!(of("year", other), None, "{other}");
    }
    for other in ["12345", "null", "true", r#"["abc"]"#, r#"{"a":"bcd"}"#, r#""""#] {
        assert_eq!(of("first 1", other), None, "{other}");
    }
}

#[test]
fn a_telephone_number_is_not_taken_for_a_date() {
    let of = |value: &str| {
        let field = "[[stream.field]]\npointer = '/v'\nkeep = 'year'";
        public(field, &format!(r#"{{"v":"{value}"}}"#))
    };
    for dated in ["1984-02-29", "2199-12", "1984-02-29T08:00:00Z", "1984-02-29 08:00:00.5"] {
        let year = format!(r#"{{"v":"{}"}}"#, &dated[..4]);
        assert_eq!(of(dated), Some(year), "{dated}");
    }
    for other in [
        "0176-1234567",
        "0176-12",
        "2040-123456",
        "1984-02-30",
        "1984-13",
        "1984-2-9",
        "1984-02-29 Anna",
        "1984-02-29T",
        "1984-02-29x",
        "1984-021",
        "1799-12-31",
        "2200-01-01",
    ] {
        assert_eq!(of(other), None, "{other}");
    }
}

#[test]
fn a_placeholder_stands_where_there_is_no_residue() {
    let field = "[[stream.field]]\npointer = '/v'\nkeep = 'first 2'\nplaceholder = 'x\"y'";
    assert_eq!(public(field, r#"{"v":"abc"}"#).unwrap(), r#"{"v":"ab"}"#);
    assert_eq!(public(field, r#"{"v":"ab"}"#).unwrap(), r#"{"v":"x\"y"}"#);
    assert_eq!(public(field, r#"{"v":{"w":1}}"#).unwrap(), r#"{"v":"x\"y"}"#);
    assert_eq!(public(field, r#"{"w":1}"#), None);
}

#[test]
fn each_element_may_be_another_persons() {
    let rule = rule(
        "public = ['/lines/*/n']\n[[stream.field]]\npointer = '/lines/*/iban'\n\
         subject = 'user-{/lines/*/user}'",
    );
    let data = r#"{"x":0,"lines":[{"n":1,"iban":"A","user":5},{"iban":"B","user":6,"n":2},{"iban":null},{"iban":"C","user":5}]}"#;
    let pieces = cut(&rule, "s-1", "X", data).unwrap();
    let subjects: Vec<_> = pieces.parts.iter().map(|part| part.subject.as_str()).collect();
    assert_eq!(subjects, ["s-1", "user-5", "user-6"]);
    assert_eq!(
        pieces.public.as_ref().unwrap().as_str(),
        r#"{"lines":[{"n":1},{"n":2},null,null]}"#
    );
    assert_eq!(rebuild(&pieces, |_| true), data);
    assert_eq!(
        rebuild(&pieces, |who| who.as_str() == "user-5"),
        r#"{"lines":[{"n":1,"iban":"A"},{"n":2},null,{"iban":"C"}]}"#
    );
    let nobody = cut(&rule, "s-1", "X", r#"{"lines":[{"iban":"A"}]}"#);
    assert!(matches!(nobody, Err(PolicyRefusal::Missing { .. })));
    // No such field, nobody to name.
    assert!(cut(&rule, "s-1", "X", r#"{"lines":[{"n":1}]}"#).unwrap().clear);
}

#[test]
fn nothing_public_and_two_subjects_leaves_no_structure_in_clear() {
    let rule = rule("[[stream.field]]\npointer = '/a/*/b'\nsubject = 'user-{/a/*/who}'");
    let data = r#"{"z":1,"a":[3,{"c":4,"b":5,"who":9}],"y":2}"#;
    let pieces = cut(&rule, "s-1", "X", data).unwrap();
    assert!(pieces.public.is_none() && !pieces.clear);
    assert_eq!(pieces.layout, Layout::Sealed);
    assert_eq!(rebuild(&pieces, |_| true), data);
    assert_eq!(rebuild(&pieces, |who| who.as_str() == "user-9"), r#"{"a":[null,{"b":5}]}"#);
}

#[test]
fn types_replace_what_is_public_and_which_fields_there_are() {
    let rule = rule(
        "public = ['/a']\n[[stream.field]]\npointer = '/f'\nplaceholder = '?'\n\
         [stream.type.'x.y']\npublic = ['/b']\n[stream.type.None]\npublic = []\nfield = []\n\
         [stream.type.All]\npublic = ['*']",
    );
    let data = r#"{"a":1,"b":2,"f":3}"#;
    let of = |event_type: &str| {
        let pieces = cut(&rule, "s-1", event_type, data).unwrap();
        pieces.public.map(|json| json.as_str().to_owned())
    };
    assert_eq!(of("Other").unwrap(), r#"{"a":1,"f":"?"}"#);
    assert_eq!(of("x.y").unwrap(), r#"{"b":2,"f":"?"}"#);
    assert_eq!(of("None"), None);
    assert_eq!(of("All").unwrap(), r#"{"a":1,"b":2,"f":"?"}"#);
}

#[test]
fn payloads_that_are_no_objects_are_public_or_sealed_as_a_whole() {
    let bytes = Payload::Bytes(b"\xff\0"[..].into());
    let (name, event_type) = (stream("s-1"), EventType::new("X").unwrap());
    let facts = EventFacts { stream: &name, event_type: &event_type, subject: None };
    let list = Payload::from(Json::parse(r#"[{"iban":"A"}]"#).unwrap());
    let scalar = Payload::from(Json::parse("7").unwrap());
    let keep = "[[stream.field]]\npointer = '/*/iban'\nkeep = 'first 2'";
    let other = "[[stream.field]]\npointer = '/iban'\nsubject = 'user-9'";
    for (more, payload, clear) in [
        (String::new(), &bytes, false),
        ("public = ['*']".to_owned(), &bytes, true),
        ("public = ['*']".to_owned(), &list, true),
        ("public = ['/0', '/*/iban']".to_owned(), &list, false),
        (format!("public = ['*']\n{keep}"), &list, false),
        (format!("public = ['*']\n{keep}"), &bytes, false),
        (format!("public = ['*']\n{keep}"), &scalar, true),
    ] {
        let pieces = policy(&rule(&more)).cut(&facts, payload, None).unwrap();
        assert_eq!(pieces.clear, clear, "{more} {payload:?}");
        assert_eq!(pieces.parts.is_empty(), clear);
        assert_eq!(pieces.public.is_some(), clear && payload.as_json().is_some());
        assert!(clear || pieces.parts[0].body == Body::Whole);
    }
    for payload in [&bytes, &list, &scalar] {
        let refused = policy(&rule(other)).cut(&facts, payload, None).unwrap_err();
        assert_eq!(refused, PolicyRefusal::NotAnObject);
    }
}

#[test]
fn metadata_is_sealed_but_for_what_follows_a_request() {
    let toml = rule("public = ['*']") + "\n";
    let policy = policy(&format!("public_metadata = ['/tenant']\n{toml}"));
    let (name, event_type) = (stream("s-1"), EventType::new("X").unwrap());
    let facts = EventFacts { stream: &name, event_type: &event_type, subject: None };
    let cut = |metadata: &str| {
        let metadata = Json::parse(metadata).unwrap();
        policy.cut(&facts, &Json::parse("{}").unwrap().into(), Some(&metadata))
    };
    let pieces =
        cut(r#"{"ip":"::1","$correlationId":"c","causation_id":{"no":1},"tenant":{"t":1}}"#)
            .unwrap();
    assert_eq!(
        pieces.public_metadata.unwrap().as_str(),
        r#"{"$correlationId":"c","tenant":{"t":1}}"#
    );
    assert!(pieces.clear);
    let [part] = &pieces.parts[..] else { panic!() };
    assert_eq!((part.subject.as_str(), &part.body), ("s-1", &Body::Nothing));
    assert!(part.fields.is_empty());
    assert_eq!(
        part.metadata.as_ref().unwrap().as_str(),
        r#"0 0 10 "ip":"::1"0 2 23 "causation_id":{"no":1}"#
    );
    assert!(cut(r#"{"traceparent":"00-1"}"#).unwrap().parts.is_empty());
    assert!(cut("{}").unwrap().parts.is_empty());
    assert!(cut(r#"{"ip":1}"#).unwrap().public_metadata.is_none());
    assert_eq!(cut("[]").unwrap_err(), PolicyRefusal::MetadataNotAnObject);
    for reserved in [r#"{"$sealed":1}"#, r#"{"\u0024oubliette":1}"#] {
        assert!(matches!(cut(reserved), Err(PolicyRefusal::Reserved { .. })));
    }
}

#[test]
fn the_fillings_have_their_written_form() {
    let data =
        "{ \"b/~c\" :[1.0, 1e400],\n \"id\": 7 , \"ä\":\"\\u00e4\", \"o\": {\"p\": [ 2 ,3] }}";
    let rule = rule("public = ['/id', '/o/p/0']");
    let pieces = cut(&rule, "s-1", "X", data).unwrap();
    assert_eq!(
        pieces.public.as_ref().unwrap().as_str(),
        "{\n \"id\": 7 , \"o\": {\"p\": [ 2 ,null] }}"
    );
    let Body::Fields(text) = &pieces.parts[0].body else { panic!() };
    assert_eq!(text.as_str(), "0 0 21  \"b/~c\" :[1.0, 1e400]0 2 14  \"ä\":\"\\u00e4\"4 1 1 /o/p3");
    assert_eq!(rebuild(&pieces, |_| true), data);
}

/// Signatures of webhooks are made over bytes.
#[test]
fn white_space_comes_back_as_it_was() {
    let rule = rule(
        "public = ['/b', '/c/*/n']\n[[stream.field]]\npointer = '/c/*/u'\nsubject = 'user-{/c/*/n}'\n\
         [[stream.field]]\npointer = '/k'\nkeep = 'first 1'",
    );
    for data in [
        "{\n  \"a\": 1,\n  \"b\": 2,\n  \"c\": [\n    { \"n\": 1, \"u\": \"x\" },\n    {\"u\" :null}\n  ]\n}",
        "{\"b\":2 , \"k\" : \"xyz\" }",
        "{ \"a\":1 , \"b\" :\t2 }",
        "{\"a\":{ },\"b\":[ ] ,\"c\":[ ]}",
        "{ \"c\" : [ 7 , { \"n\" : 2.50 } , [ ] ] }",
    ] {
        let pieces = cut(&rule, "s-1", "X", data).unwrap();
        if pieces.parts.iter().all(|part| part.body != Body::Whole) {
            assert_eq!(rebuild(&pieces, |_| true), data);
        }
    }
}

#[test]
fn the_deepest_payload_can_be_cut_and_put_together() {
    let depth = crate::event::MAX_DEPTH - 1;
    let data = format!(r#"{{"id":1,"deep":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    let pieces = cut(&rule("public = ['/id']"), "s-1", "X", &data).unwrap();
    assert_eq!(rebuild(&pieces, |_| true), data);
}

#[test]
fn debug_output_holds_no_content() {
    let rule = rule("public = ['/id']");
    let pieces = cut(&rule, "s-1", "X", r#"{"id":"shown","name":"Ringelnatz"}"#).unwrap();
    let text = format!("{pieces:?}");
    assert!(!text.contains("Ringelnatz") && !text.contains("shown"), "{text}");
}

#[test]
fn the_github_example_finds_the_sender() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/github/policy.toml");
    let github = Policy::load(&path).unwrap();
    assert!(github.warnings().is_empty());
    for (name, data, expected) in [
        ("repository-1", r#"{"sender":{"id":21031067}}"#, "user-21031067"),
        ("sender-0", r#"{"security_advisory":{}}"#, "sender-0"),
    ] {
        let (name, event_type) = (stream(name), EventType::new("issues.opened").unwrap());
        let given = subject(expected);
        let facts = EventFacts { stream: &name, event_type: &event_type, subject: Some(&given) };
        let pieces = github.cut(&facts, &Json::parse(data).unwrap().into(), None).unwrap();
        assert_eq!(pieces.subject, given);
        assert_eq!(pieces.parts[0].body, Body::Whole);
    }
}

/// They are in clear without a rule that says so.
#[test]
fn ids_and_trace_headers_that_look_personal_are_refused() {
    let policy = Policy::sealed_by_default();
    let (name, event_type) = (stream("s-1"), EventType::new("X").unwrap());
    let facts = EventFacts { stream: &name, event_type: &event_type, subject: None };
    let cut = |member: &str, value: &str| {
        let metadata = Json::parse(&format!("{{{member:?}:{value:?}}}")).unwrap();
        policy.cut(&facts, &Json::parse("{}").unwrap().into(), Some(&metadata))
    };
    for member in ["correlationId", "$causationId", "causation_id", "traceparent", "tracestate"] {
        for value in ["anna@example.org", "for anna@example.org", "+49 170 1234567"] {
            let refused = cut(member, value).map(|_| ());
            assert!(
                matches!(refused, Err(PolicyRefusal::LooksPersonal { .. })),
                "{member}: {value}"
            );
        }
    }
    for value in [
        "req-7",
        "41111111-1111-4111-8111-111111111111",
        "00000000000000004111111111111111",
        "00-00000000000000004111111111111111-4111111111111111-01",
    ] {
        assert!(cut("traceparent", value).is_ok(), "{value}");
    }
    // What is sealed is nobody's concern.
    assert!(cut("by", "anna@example.org").is_ok());
}
