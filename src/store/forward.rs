//! Pointers to stores are stores.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    Append, Appended, Capabilities, EventStore, EventStream, Filter, ReadAllOptions, ReadOptions,
    StoreError, Subscription,
};
use crate::event::{Position, RecordedEvent, StreamName};

macro_rules! forward {
    ($pointer:ident) => {
        #[async_trait]
        impl<S: EventStore + ?Sized> EventStore for $pointer<S> {
            async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
                (**self).append(appends).await
            }

            async fn restore(
                &self,
                events: Vec<RecordedEvent>,
            ) -> Result<Vec<Appended>, StoreError> {
                (**self).restore(events).await
            }

            fn read(&self, stream: &StreamName, options: ReadOptions) -> EventStream {
                (**self).read(stream, options)
            }

            fn read_all(&self, options: ReadAllOptions) -> EventStream {
                (**self).read_all(options)
            }

            fn subscribe(&self, after: Option<Position>, filter: Filter) -> Subscription {
                (**self).subscribe(after, filter)
            }

            fn capabilities(&self) -> Capabilities {
                (**self).capabilities()
            }
        }
    };
}

forward!(Arc);
forward!(Box);
