//! The Tokio runtime that the caller is within, and how tasks end, in one place: where Tokio would panic, or
//! hand on a panic, an error says so.

use std::{
    panic,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::oneshot,
    task::{JoinError, JoinHandle, spawn_blocking as blocking},
};

/// Why a task did not end by itself, whatever it was to do.
///
/// ```
/// use oubliette::{layer::CodecError, *};
/// # let codec = Codec::new(Vault::in_memory()?, Policy::sealed_by_default());
/// # let stream = StreamName::new("user-456")?;
/// # let moved = NewEvent::new(EventType::new("UserMoved")?, Json::parse("{}")?);
/// // Outside of a Tokio runtime: an error, and no panic.
/// let sealed = futures::executor::block_on(codec.seal(&stream, moved));
/// assert!(matches!(sealed, Err(CodecError::Task(TaskError::NoRuntime))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// It was called outside of a Tokio runtime, and needs one. Nothing was done. The caller's fault.
    #[error(
        "this needs a Tokio runtime, and was called outside of one: call it in an async function under \
         `#[tokio::main]`, or with `Runtime::block_on`"
    )]
    NoRuntime,
    /// It was called within a Tokio runtime that has no timers. Nothing was done. The caller's fault.
    #[error(
        "this Tokio runtime has no timers, which waiting for others needs: build it with `enable_time` or \
         `enable_all`, as `#[tokio::main]` and `Runtime::new` do"
    )]
    NoTimers,
    /// It panicked: a bug, of this library or of the event store beneath it. The panic's own text, which may
    /// hold anything, is not kept.
    #[error(
        "a task panicked, which is a bug, and how far it came is not known; report it, with what was written to \
         standard error, and look before you try again"
    )]
    Panicked,
    /// The runtime was shut down meanwhile.
    #[error("the Tokio runtime was shut down before this was done; try again in one that runs on")]
    Cancelled,
}

impl TaskError {
    /// Whether the same call may succeed later without anybody's changing anything:
    /// [`Cancelled`](Self::Cancelled) alone.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Cancelled => true,
            Self::NoRuntime | Self::NoTimers | Self::Panicked => false,
        }
    }
}

impl From<JoinError> for TaskError {
    fn from(error: JoinError) -> Self {
        if error.is_panic() { Self::Panicked } else { Self::Cancelled }
    }
}

/// A task of its own: dropping this does not end it.
pub(crate) struct Task<T>(JoinHandle<T>);

#[cfg(feature = "sqlite")]
impl<T> Task<T> {
    pub(crate) fn abort(&self) {
        self.0.abort();
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map_err(TaskError::from)
    }
}

/// Whether there is one.
pub(crate) fn is_there() -> bool {
    Handle::try_current().is_ok()
}

/// Asks before anything is begun for all that it may need later. Timers are needed only where somebody has to wait: without
/// them most would go well, and a task would panic now and then.
///
/// # Errors
/// [`TaskError::NoRuntime`] and [`TaskError::NoTimers`].
pub(crate) fn check() -> Result<(), TaskError> {
    if !is_there() {
        return Err(TaskError::NoRuntime);
    }
    // Tokio does not say whether a runtime has timers: it panics, and tells why on standard error.
    let asks = || {
        let sleep = pin!(tokio::time::sleep(Duration::ZERO));
        let _ = sleep.poll(&mut Context::from_waker(Waker::noop()));
    };
    panic::catch_unwind(asks).map_err(|_| TaskError::NoTimers)
}

/// Runs a future in a task of its own.
pub(crate) fn spawn<T: Send + 'static>(
    run: impl Future<Output = T> + Send + 'static,
) -> Result<Task<T>, TaskError> {
    Handle::try_current().map(|runtime| Task(runtime.spawn(run))).map_err(|_| TaskError::NoRuntime)
}

/// Runs what blocks where that does no harm.
pub(crate) fn spawn_blocking<T: Send + 'static>(
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<Task<T>, TaskError> {
    if is_there() { Ok(Task(blocking(run))) } else { Err(TaskError::NoRuntime) }
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
        // A task that waits for something else as well is woken by that.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::{fmt::Display, sync::Arc, task::Wake, thread::Thread};

    use super::*;
    use crate::{
        audit::verify::VerifyOptions,
        erasure::{ErasureError, ForgetOptions},
        event::{EventType, Json, NewEvent, StreamName, Subject, Timestamp},
        layer::{Codec, CodecError, Oubliette},
        policy::Policy,
        store::{EventStoreExt, ExpectedRevision, MemoryStore, ReadOptions, StoreError},
        vault::{Vault, VaultError},
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

    /// Who opens would get as far as somebody waits, and then meet a panic.
    #[test]
    fn a_runtime_without_timers_is_refused_on_opening_and_not_by_a_panic_later() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (vault, policy) = (Vault::in_memory().unwrap(), Policy::sealed_by_default());
        let opening = Oubliette::open(MemoryStore::new(), vault.clone(), policy.clone());
        let refused = runtime.block_on(opening).unwrap_err();
        assert!(matches!(refused, ErasureError::Task(TaskError::NoTimers)), "{refused:?}");
        assert!(refused.to_string().contains("enable_time") && !refused.is_temporary());
        let codec = Codec::new(vault.clone(), policy.clone());
        let name = StreamName::new("user-1").unwrap();
        let moved = NewEvent::new(EventType::new("Moved").unwrap(), Json::parse("{}").unwrap());
        let refused = runtime.block_on(codec.seal(&name, moved)).unwrap_err();
        assert!(matches!(refused, CodecError::Task(TaskError::NoTimers)), "{refused:?}");

        let timed = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        timed.block_on(Oubliette::open(MemoryStore::new(), vault, policy)).unwrap();
    }

    /// What a task was to do when it ended is not known, so that it is not simply to be tried again. What it
    /// panicked with may hold anything.
    #[test]
    fn a_task_that_panicked_is_told_as_that_and_one_that_was_cut_off_as_that() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _within = runtime.enter();
        let panicked = spawn(async { panic!("hunter2") }).unwrap();
        assert_eq!(outside(panicked), Err(TaskError::Panicked));
        let blocking = spawn_blocking(|| panic!("hunter2")).unwrap();
        assert_eq!(outside(blocking), Err(TaskError::Panicked));

        let (vault, policy) = (Vault::in_memory().unwrap(), Policy::sealed_by_default());
        let bank = Oubliette::open(MemoryStore::new(), vault, policy);
        let bank = runtime.block_on(bank).unwrap();
        let user = Subject::new("user-1").unwrap();
        let any = ExpectedRevision::Any;
        runtime.block_on(bank.append_to(&user.stream(), any, vec![moved()])).unwrap();
        let options = ForgetOptions::default();
        let forgetting = bank.forget_with(&user, "asked", options, |_| panic!("hunter2"));
        let refused = runtime.block_on(forgetting).unwrap_err();
        assert!(matches!(refused, ErasureError::Task(TaskError::Panicked)), "{refused:?}");
        assert!(!refused.is_temporary());
        let told = format!("{refused:?} {}", crate::words::chain(&refused));
        assert!(told.contains("panicked") && !told.contains("hunter2"), "{told}");
        let as_the_stores =
            StoreError::from(CodecError::from(VaultError::from(TaskError::Panicked)));
        assert!(
            matches!(as_the_stores, StoreError::Task(TaskError::Panicked)),
            "{as_the_stores:?}"
        );

        let never = spawn(std::future::pending::<()>()).unwrap();
        drop(_within);
        runtime.shutdown_background();
        assert_eq!(outside(never), Err(TaskError::Cancelled));
        assert!(TaskError::Cancelled.is_temporary());
    }

    /// A permit that is not given back ends, no matter who waits for it.
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
