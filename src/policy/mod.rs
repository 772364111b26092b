//! stub
#![allow(missing_docs)]
use crate::event::*;
use std::path::Path;
use zeroize::Zeroizing;

#[derive(Debug, Clone)]
pub struct Policy;
#[derive(Debug, thiserror::Error)]
#[error("bad policy")]
pub struct PolicyErrors;
#[derive(Debug, thiserror::Error)]
pub enum PolicyRefusal {
    #[error("x")]
    LooksPersonal {},
    #[error("x")]
    PhysicalName {},
    #[error("x")]
    Reserved {},
    #[error("y")]
    Other,
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitNames {
    pub public: StreamName,
    pub private: StreamName,
}
pub struct StreamPlan {
    pub split: bool,
    pub split_names: Option<SplitNames>,
    pub declares_owners: bool,
}
pub struct EventFacts<'a> {
    pub stream: &'a StreamName,
    pub event_type: &'a EventType,
    pub subject: Option<&'a Subject>,
}
pub struct Carved {
    pub layout: Layout,
    pub subject: Subject,
    pub public: Option<Payload>,
    pub public_metadata: Option<Json>,
    pub parts: Vec<Part>,
    pub owners: Vec<OwnerChange>,
    pub any_owner: bool,
}
pub struct Part {
    pub subject: Subject,
    pub body: Body,
    pub metadata: Option<Zeroizing<String>>,
    pub fields: Vec<String>,
}
pub enum Body {
    Nothing,
    Whole,
    Fields(Zeroizing<String>),
}
impl Policy {
    pub fn load(_: &Path) -> Result<Policy, PolicyErrors> {
        Ok(Policy)
    }
    pub fn sealed_by_default() -> Policy {
        Policy
    }
    pub fn digest(&self) -> PolicyDigest {
        PolicyDigest::default()
    }
    pub fn pad(&self) -> Option<usize> {
        None
    }
    pub fn rule_for(&self, _: &StreamName) -> Result<StreamPlan, PolicyRefusal> {
        Ok(StreamPlan { split: false, split_names: None, declares_owners: false })
    }
    pub fn check_append(&self, _: &StreamName) -> Result<(), PolicyRefusal> {
        Ok(())
    }
    pub fn logical_of_public(&self, _: &StreamName) -> Option<StreamName> {
        None
    }
    pub fn carve(
        &self,
        f: &EventFacts<'_>,
        _: &Payload,
        _: Option<&Json>,
    ) -> Result<Carved, PolicyRefusal> {
        let subject = f.subject.cloned().unwrap_or_else(|| Subject::of(f.stream));
        Ok(Carved {
            layout: Layout::Sealed,
            subject: subject.clone(),
            public: None,
            public_metadata: None,
            parts: vec![Part {
                subject,
                body: Body::Whole,
                metadata: None,
                fields: vec!["*".into()],
            }],
            owners: vec![],
            any_owner: false,
        })
    }
}
