//! Stores that tell how long each call took. What is told has names from a closed list: the store's and the method's.
//!
//! The traits stand beside their stores: `timed.rs` of a service passes every method of its trait through `Timed`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::db::Result;
use crate::base::http::Metrics;

/// A call that is over.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Which store.
    pub store: &'static str,
    /// Which of its methods.
    pub operation: &'static str,
    /// Whether it succeeded. A refusal is no success.
    pub is_ok: bool,
    /// How long it took.
    pub took: Duration,
}

/// The observer of the calls.
pub type Observer = Arc<dyn Fn(Timing) + Send + Sync>;

/// The observer that measures the calls for the metrics.
pub(crate) fn observer(metrics: &Metrics) -> Observer {
    let metrics = metrics.clone();
    Arc::new(move |call: Timing| metrics.observe_database(call.store, call.operation, call.is_ok, call.took))
}

/// A store with an observer of its calls.
pub(crate) struct Timed<T: ?Sized> {
    pub(crate) inner: Arc<T>,
    store: &'static str,
    observer: Observer,
}

impl<T: ?Sized> Timed<T> {
    /// A store of this name with an observer.
    pub(crate) const fn new(store: &'static str, inner: Arc<T>, observer: Observer) -> Self {
        Self { inner, store, observer }
    }

    /// Tells the observer of a call that began then, and passes its result on.
    pub(crate) fn told<R>(&self, operation: &'static str, began: Instant, result: Result<R>) -> Result<R> {
        let (store, is_ok, took) = (self.store, result.is_ok(), began.elapsed());
        (self.observer)(Timing { store, operation, is_ok, took });
        result
    }
}

/// Implements a trait by passing every call on.
macro_rules! timed {
    ($store:ident { $($plain:item)* } $(fn $name:ident(&self $(, $argument:ident: $kind:ty)*) -> $answer:ty;)+) => {
        #[async_trait::async_trait]
        impl $store for $crate::pipeline::timed::Timed<dyn $store> {
            $($plain)*

            $(
                async fn $name(&self $(, $argument: $kind)*) -> $crate::base::db::Result<$answer> {
                    let began = std::time::Instant::now();
                    let result = self.inner.$name($($argument),*).await;
                    self.told(stringify!($name), began, result)
                }
            )+

            async fn close(&self) {
                self.inner.close().await;
            }
        }
    };
}
pub(crate) use timed;
