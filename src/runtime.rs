//! The Tokio runtime that the caller is within, asked for in one place: without one, an error says so
//! where Tokio would panic.

use std::{thread, time::Duration};

use tokio::{
    runtime::Handle,
    sync::oneshot,
    task::{JoinHandle, spawn_blocking as blocking},
};

/// What was called needs a runtime, and there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this needs a Tokio runtime, and was called outside of one: call it in an async function under \
     `#[tokio::main]`, or with `Runtime::block_on`"
)]
pub(crate) struct NoRuntime;

/// Whether there is one.
pub(crate) fn is_there() -> bool {
    Handle::try_current().is_ok()
}

/// Runs a future in a task of its own.
pub(crate) fn spawn<T: Send + 'static>(
    run: impl Future<Output = T> + Send + 'static,
) -> Result<JoinHandle<T>, NoRuntime> {
    Handle::try_current().map(|runtime| runtime.spawn(run)).map_err(|_| NoRuntime)
}

/// Runs what blocks where that does no harm.
pub(crate) fn spawn_blocking<T: Send + 'static>(
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, NoRuntime> {
    if is_there() { Ok(blocking(run)) } else { Err(NoRuntime) }
}

/// Waits for a future where waiting does no harm: in [`spawn_blocking`].
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    Handle::current().block_on(future)
}

/// Waits so long. Outside of a runtime, where waiting is rare, a thread does.
pub(crate) async fn sleep(time: Duration) {
    if is_there() {
        return tokio::time::sleep(time).await;
    }
    let (woken, wait) = oneshot::channel::<()>();
    let sleep = move || {
        thread::sleep(time);
        drop(woken);
    };
    match thread::Builder::new().name("oubliette-sleep".to_owned()).spawn(sleep) {
        Ok(_) => drop(wait.await),
        // Whoever waits for something else as well is woken by that.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fmt::Display,
        pin::pin,
        sync::Arc,
        task::{Context, Poll, Wake, Waker},
        thread::Thread,
    };

    use super::*;
    use crate::{
        audit::verify::VerifyOptions,
        event::{EventType, Json, NewEvent, StreamName, Subject, Timestamp},
        layer::{Codec, Oubliette},
        policy::Policy,
        store::{EventStoreExt, ExpectedRevision, MemoryStore, ReadOptions},
        vault::Vault,
    };

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    /// Runs a future where there is no runtime.
    fn outside<F: Future>(future: F) -> F::Output {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let (mut future, mut context) = (pin!(future), Context::from_waker(&waker));
        loop {
            match future.as_mut().poll(&mut context) {
                Poll::Ready(done) => return done,
                Poll::Pending => thread::park(),
            }
        }
    }

    fn moved() -> NewEvent {
        NewEvent::new(EventType::new("Moved").unwrap(), Json::parse(r#"{"to":"Bremen"}"#).unwrap())
    }

    #[test]
    fn what_needs_a_runtime_says_so_outside_of_one_and_the_rest_needs_none() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (vault, policy) = (Vault::in_memory().unwrap(), Policy::sealed_by_default());
        let open = || Oubliette::open(MemoryStore::new(), vault.clone(), policy.clone());
        let bank = runtime.block_on(open()).unwrap();
        let (name, user) = (StreamName::new("user-1").unwrap(), Subject::new("user-1").unwrap());
        let any = ExpectedRevision::Any;
        let many = (0..100).map(|_| moved()).collect();
        runtime.block_on(bank.append_to(&name, any, many)).unwrap();
        let codec = Codec::new(vault.clone(), policy.clone());

        fn says<T>(answer: Result<T, impl Display>) {
            let Err(error) = answer else { panic!("it needs none") };
            let told = error.to_string();
            assert!(told.contains("needs a Tokio runtime") && told.contains("block_on"), "{told}");
        }
        says(outside(open()));
        says(outside(bank.append_to(&name, any, vec![moved()])));
        says(outside(bank.forget(&user, "asked")));
        says(outside(bank.resume()));
        says(outside(bank.rotate_older_than(Timestamp::MAX, |_| {})));
        says(outside(bank.verify(VerifyOptions::default(), |_| {})));
        says(outside(codec.seal(&name, moved())));
        #[cfg(feature = "drill")]
        says(outside(bank.drill(crate::audit::drill::DrillOptions::default(), |_| {})));

        let read = outside(bank.events(&name, ReadOptions::default())).unwrap();
        assert!(read.len() == 100 && read.iter().all(|event| event.data.is_some()));
        assert_eq!(outside(bank.plan(&user)).unwrap().keys(), 1);
        assert_eq!(outside(bank.reopen(&user)).unwrap().generation, None);
        assert_eq!(outside(bank.rebuild_owners(false)).unwrap().left, []);
        assert!(outside(bank.rotate(&user)).unwrap().generation.is_some());
    }

    /// A permit that nobody gives back ends, whoever waits for it.
    #[test]
    fn waiting_for_the_end_of_a_permit_needs_no_runtime() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let vault = Vault::in_memory().unwrap();
        let codec = Codec::new(vault.clone(), Policy::sealed_by_default());
        let codec = codec.lasting_for(Duration::from_millis(10));
        let name = StreamName::new("user-1").unwrap();
        let held = runtime.block_on(codec.seal(&name, moved())).unwrap();
        drop(outside(vault.close(&[Subject::of(&name)])));
        drop(held);
    }
}
