//! From the file's words to rules that can be applied, with every check that needs no event.

use std::{collections::HashMap, ops::Range};

use toml::Spanned;

use super::{
    Problem, Warning,
    check::{sample, sample_captures},
    compiler::{Compiler, Mistake},
    digest::{digest, owner_digest, owner_rules},
    file::{FieldRule, OnOwnerForgotten, Otherwise, OwnerRule, PolicyFile, StreamRule},
    identifying::{Looks, looks},
    path::{PathPattern, PathStep},
    pattern::NamePattern,
    personal_data,
    rules::{Change, Field, FieldRules, Halves, Keep, Owner, Rule, Rules},
    template::Template,
};
use crate::event::{EventType, Layout, StreamName, normalized};

/// Metadata that is public without a rule, where it is a scalar: what other systems follow a
/// request by.
pub(super) const PUBLIC_METADATA: &[&str] = &[
    "/correlationId",
    "/correlation_id",
    "/$correlationId",
    "/causationId",
    "/causation_id",
    "/$causationId",
    "/traceparent",
    "/tracestate",
];

/// The longest padding: what a token may grow by is what every token may grow by.
const MAX_PAD: u32 = 1024 * 1024;

/// Compiles a file. The rules may only be used where there are no mistakes.
pub(super) fn compile(file: &PolicyFile, text: &str) -> (Rules, Vec<Mistake>) {
    let mut compiler =
        Compiler { text, mistakes: Vec::new(), warnings: Vec::new(), owners: Vec::new() };
    let metadata = compiler.metadata(&file.public_metadata);
    let pad = file.pad.as_ref().and_then(|pad| compiler.pad(pad));
    let compiled: Vec<(Rule, Range<usize>)> = file
        .stream
        .iter()
        .filter_map(|rule| Some((compiler.rule(rule)?, rule.pattern.span())))
        .collect();
    compiler.check_patterns(&compiled);
    let (rules, spans): (Vec<_>, Vec<_>) = compiled.into_iter().unzip();
    let mut rules = Rules {
        rules,
        metadata,
        pad,
        digest: digest(file),
        owner_digest: owner_digest(file),
        owner_rules: owner_rules(file),
        warnings: Vec::new(),
    };
    compiler.check_cycles(&rules, &spans);
    compiler.check_owners(&rules);
    let order = |warning: &Warning| (warning.line, warning.column);
    compiler.warnings.sort_by_key(order);
    compiler.warnings.dedup();
    rules.warnings = std::mem::take(&mut compiler.warnings);
    (rules, compiler.mistakes)
}

impl Compiler<'_> {
    fn metadata(&mut self, more: &[Spanned<String>]) -> FieldRules {
        let mut cut = FieldRules {
            public: PUBLIC_METADATA
                .iter()
                .filter_map(|text| PathPattern::parse(text).ok())
                .collect(),
            scalars: PUBLIC_METADATA.len(),
            ..FieldRules::default()
        };
        for pointer in more {
            let parsed = PathPattern::parse(pointer.get_ref());
            if let Some(place) = self.noted(parsed, pointer.span(), Problem::Pointer) {
                self.warn_if_identifying(&place, &pointer.span());
                cut.public.push(place);
            }
        }
        cut
    }

    fn pad(&mut self, pad: &Spanned<u32>) -> Option<usize> {
        let bytes = *pad.get_ref();
        if bytes == 0 || bytes > MAX_PAD {
            let message = format!("`pad` is a number of bytes from 1 to {MAX_PAD}");
            self.mistake(pad.span(), Problem::Word, message);
            return None;
        }
        usize::try_from(bytes).ok()
    }

    fn rule(&mut self, rule: &StreamRule) -> Option<Rule> {
        let at = rule.pattern.span();
        let parsed = NamePattern::parse(rule.pattern.get_ref());
        let pattern = self.noted(parsed, at.clone(), Problem::Pattern)?;
        self.check_nameable(&pattern, &at);

        let shows = shows_something(rule);
        let layout = match &rule.layout {
            Some(layout) => {
                if *layout.get_ref() == Layout::Sealed && shows {
                    self.mistake(
                        layout.span(),
                        Problem::Conflict,
                        "the layout `sealed` shows nothing, but this rule has `public`, `keep` or \
                         `placeholder`; write `inline` or `split`",
                    );
                }
                *layout.get_ref()
            }
            None if shows => Layout::Inline,
            None => Layout::Sealed,
        };
        let halves = pattern
            .with_word("public-")
            .zip(pattern.with_word("private-"))
            .map(|(public, private)| Halves { public, private });
        if layout == Layout::Split && halves.is_none() {
            let at = rule.layout.as_ref().map_or(at.clone(), Spanned::span);
            let message = "a split needs a capture such as `{id}` in `match`, before which \
                           `public-` and `private-` are put";
            self.mistake(at, Problem::Conflict, message);
        }

        let cut = self.cut(rule.public.as_deref().unwrap_or_default(), &rule.field, &pattern);
        if cut.whole && cut.fields.is_empty() {
            let at = rule.public.iter().flatten().next().map_or(at.clone(), Spanned::span);
            self.warn(&at, "every event of these streams stands in clear, whatever it holds");
        }
        let mut types = HashMap::new();
        for (name, replaced) in &rule.types {
            if let Err(error) = EventType::new(name.get_ref()) {
                self.mistake(name.span(), Problem::Word, error.to_string());
            }
            let public = replaced.public.as_ref().or(rule.public.as_ref());
            let fields = replaced.field.as_ref().unwrap_or(&rule.field);
            // What is inherited was checked above, once.
            let (mistakes, warnings) = (self.mistakes.len(), self.warnings.len());
            let mut cut = self.cut(public.map_or(&[], Vec::as_slice), fields, &pattern);
            cut.inherits_public = replaced.public.is_none();
            cut.inherits_fields = replaced.field.is_none();
            if replaced.public.is_none() && replaced.field.is_none() {
                self.mistakes.truncate(mistakes);
                self.warnings.truncate(warnings);
                let message = "this type's rule says nothing; give it `public` or `field`";
                self.mistake(name.span(), Problem::Word, message);
            }
            if types.insert(normalized(name.get_ref()).into_owned(), cut).is_some() {
                let message = "this type has a rule already, spelled with other code points";
                self.mistake(name.span(), Problem::Word, message);
            }
        }

        let subject = rule.subject.as_ref().and_then(|template| {
            let parsed = Template::parse(template.get_ref(), &pattern, 0);
            self.noted(parsed, template.span(), Problem::Template)
        });
        let may_find_nothing = match (&rule.subject, &subject) {
            (None, _) => rule.otherwise.as_ref().is_some_and(|o| *o.get_ref() == Otherwise::Named),
            // A template that is none is told already.
            (Some(_), subject) => subject.as_ref().is_none_or(|s| !s.is_of_the_name()),
        };
        if let Some(otherwise) = &rule.otherwise
            && !may_find_nothing
        {
            let message = "`otherwise` says what holds where a pointer of `subject` finds nothing, \
                           but there is none; take it out";
            self.mistake(otherwise.span(), Problem::Conflict, message);
        }
        if let Some(on) = &rule.on_owner_forgotten
            && rule.owner.is_empty()
        {
            let message = "`on_owner_forgotten` means nothing without `owner`; say which events \
                           name the owners";
            self.mistake(on.span(), Problem::Conflict, message);
        }
        let any_owner = rule
            .on_owner_forgotten
            .as_ref()
            .is_some_and(|on| *on.get_ref() == OnOwnerForgotten::ShredOnAny);
        let owners = rule.owner.iter().filter_map(|owner| self.owner(owner, &pattern)).collect();
        Some(Rule {
            pattern,
            halves,
            layout,
            subject,
            otherwise: rule.otherwise.as_ref().map(|otherwise| *otherwise.get_ref()),
            owners,
            any_owner,
            card_like_ids: rule.card_like_ids,
            cut,
            types,
        })
    }

    /// A pattern that no valid stream's name can fit.
    fn check_nameable(&mut self, pattern: &NamePattern, at: &Range<usize>) {
        let sample = sample(pattern);
        let problem = match StreamName::new(&sample) {
            Err(error) => Some(error.to_string()),
            Ok(_) if sample.starts_with("oubliette-") => {
                Some("names beginning with `oubliette-` are the layer's own".to_owned())
            }
            Ok(_) => pattern.literals().iter().find_map(|literal| {
                let looks = personal_data::check_name(literal).err()?;
                Some(format!("its names look like {looks}, which is refused"))
            }),
        };
        if let Some(problem) = problem {
            let message = format!("this rule can never match: {problem}");
            self.mistake(at.clone(), Problem::Pattern, message);
        }
    }

    fn owner(&mut self, owner: &Spanned<OwnerRule>, pattern: &NamePattern) -> Option<Owner> {
        let rule = owner.get_ref();
        if let Err(error) = EventType::new(rule.event.get_ref()) {
            self.mistake(rule.event.span(), Problem::Word, error.to_string());
        }
        let changes = [
            (Change::Add, &rule.add),
            (Change::Remove, &rule.remove),
            (Change::Replace, &rule.replace),
        ];
        let mut given = changes.iter().filter_map(|(change, text)| Some((*change, text.as_ref()?)));
        let (Some((change, text)), None) = (given.next(), given.next()) else {
            let message = "an owner rule has exactly one of `add`, `remove` and `replace`";
            self.mistake(owner.span(), Problem::Word, message);
            return None;
        };
        let parsed = Template::parse(text.get_ref(), pattern, 0);
        let template = self.noted(parsed, text.span(), Problem::Template)?;
        if template.is_of_the_name() {
            let captures = sample_captures(pattern);
            let captures: Vec<&str> = captures.iter().map(String::as_str).collect();
            if template.compose_from_name(&captures) == pattern.name(&captures) {
                let message = "this makes every stream its own owner; name another stream";
                self.mistake(text.span(), Problem::Cycle, message);
                return None;
            }
        }
        let captures = sample_captures(pattern);
        let sample = template.sample(&captures.iter().map(String::as_str).collect::<Vec<_>>());
        self.owners.extend(sample.map(|sample| (sample, text.span())));
        let event = normalized(rule.event.get_ref()).into_owned();
        Some(Owner { event, change, template })
    }

    fn cut(
        &mut self,
        public: &[Spanned<String>],
        fields: &[Spanned<FieldRule>],
        pattern: &NamePattern,
    ) -> FieldRules {
        let mut cut = FieldRules::default();
        for field in fields {
            if let Some(compiled) = self.field(field.get_ref(), pattern) {
                let other = cut.fields.iter().find(|other| other.place.touches(&compiled.place));
                if let Some(other) = other {
                    let message = format!(
                        "this field may be the same as, or lie in or around, `{}`; name places \
                         that exclude each other",
                        other.place
                    );
                    self.mistake(field.get_ref().pointer.span(), Problem::Conflict, message);
                }
                cut.fields.push(compiled);
            }
        }
        for pointer in public {
            if pointer.get_ref() == "*" {
                if public.len() > 1 {
                    let message = "`*` is the whole payload: write `public = [\"*\"]` alone";
                    self.mistake(pointer.span(), Problem::Conflict, message);
                }
                cut.whole = true;
                continue;
            }
            let parsed = PathPattern::parse(pointer.get_ref());
            let Some(place) = self.noted(parsed, pointer.span(), Problem::Pointer) else {
                continue;
            };
            if let Some(field) = cut.fields.iter().find(|field| field.place.covers(&place)) {
                let message = format!(
                    "`{place}` can never be public: it is, or lies in, the field `{}`",
                    field.place
                );
                self.mistake(pointer.span(), Problem::Pointer, message);
            }
            if cut.public.contains(&place) {
                self.mistake(pointer.span(), Problem::Pointer, format!("`{place}` stands twice"));
            } else if let Some(known) = cut.public.iter().find(|known| known.covers(&place)) {
                let message = format!("`{place}` is public already by `{known}`; take it out");
                self.mistake(pointer.span(), Problem::Pointer, message);
            }
            self.warn_if_identifying(&place, &pointer.span());
            cut.public.push(place);
        }
        cut
    }

    fn field(&mut self, rule: &FieldRule, pattern: &NamePattern) -> Option<Field> {
        let pointer = &rule.pointer;
        let parsed = PathPattern::parse(pointer.get_ref());
        let place = self.noted(parsed, pointer.span(), Problem::Pointer)?;
        let keep = rule.keep.as_ref().and_then(|keep| {
            let parsed = Keep::parse(keep.get_ref()).ok_or_else(|| {
                "`keep` is `first N`, `last N` (characters, from 1) or `year`".to_owned()
            });
            let keep_at = keep.span();
            let parsed = self.noted(parsed, keep_at.clone(), Problem::Word);
            if parsed.is_some() {
                let message = format!(
                    "what stays of `{place}` may still identify somebody (GDPR, Recital 26)"
                );
                self.warn(&keep_at, message);
            }
            parsed
        });
        let subject = rule.subject.as_ref().and_then(|template| {
            let parsed = Template::parse(template.get_ref(), pattern, place.stars());
            self.noted(parsed, template.span(), Problem::Template)
        });
        let placeholder = rule.placeholder.as_ref();
        let placeholder = placeholder.and_then(|text| serde_json::to_string(text.get_ref()).ok());
        Some(Field { place, keep, placeholder, subject })
    }

    fn warn_if_identifying(&mut self, place: &PathPattern, at: &Range<usize>) {
        let named = place.steps().iter().rev().find_map(|step| match step {
            PathStep::Key(key) => Some(key),
            PathStep::Any => None,
        });
        let Some(looks) = named.and_then(|name| looks(name)) else { return };
        let why = match looks {
            Looks::Identifying => "may identify somebody (GDPR, Recital 26)",
            Looks::Special => {
                "may tell of somebody's health, faith, origin or the like (GDPR, Articles 9 and 10)"
            }
            Looks::FreeText => {
                "is text that may identify anybody whom its writer names (GDPR, Recital 26)"
            }
        };
        self.warn(at, format!("`{place}` is public and {why}"));
    }
}

/// Whether anything of a rule's streams can be in clear.
fn shows_something(rule: &StreamRule) -> bool {
    let shown = |fields: &[Spanned<FieldRule>]| {
        fields.iter().any(|f| f.get_ref().keep.is_some() || f.get_ref().placeholder.is_some())
    };
    let listed = |public: &Option<Vec<_>>| public.as_ref().is_some_and(|list| !list.is_empty());
    listed(&rule.public)
        || shown(&rule.field)
        || rule
            .types
            .values()
            .any(|of_type| listed(&of_type.public) || of_type.field.as_deref().is_some_and(shown))
}
