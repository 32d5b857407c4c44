//! Streams of events that clients send: what has come is taken together, so that a stream costs a commit now and then
//! and not one per event.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{Stream, StreamExt};
use tonic::{Status, Streaming};

use super::pb::event_hub::{Ack, Event, Summary};
use super::{message, status};
use crate::base::http::Caller;
use crate::hub::api::Api;
use crate::hub::measures::Door;
use crate::hub::service::Verdict;

/// Events that are taken together at the most. One group is taken at a time, so that nothing behind a group that failed is
/// kept; with the acknowledgements of the group before, at most twice as many events are unacknowledged. Beyond that the
/// client's flow control stops it.
const TOGETHER_MAX: usize = 500;

/// What became of a group of events: the client's marks and the verdicts, in their order.
type Group = Vec<(String, Verdict)>;

/// Takes the events of a stream, in groups, in their order. It ends with the stream, with an error, or with the hub.
fn groups(api: Api, caller: Caller, events: Streaming<Event>) -> impl Stream<Item = Result<Group, Status>> {
    let is_cut = Arc::new(AtomicBool::new(false));
    let stopped = {
        let (stop, is_cut) = (api.stop().clone(), Arc::clone(&is_cut));
        async move {
            stop.requested().await;
            is_cut.store(true, Ordering::Relaxed);
        }
    };
    let groups = events.take_until(Box::pin(stopped)).ready_chunks(TOGETHER_MAX);
    let taken = groups.then(move |events| {
        let api = api.clone();
        async move {
            let (mut refs, mut drafts, mut broken) = (Vec::new(), Vec::new(), None);
            for event in events {
                match event {
                    Ok(mut event) => {
                        refs.push(std::mem::take(&mut event.r#ref));
                        drafts.push(message::draft(event, None));
                    }
                    // Nothing follows. What came before it is taken.
                    Err(status) => broken = Some(status),
                }
            }
            let verdicts = api.accept_all(Door::Grpc, caller, drafts).await;
            let group = verdicts.map(|verdicts| refs.into_iter().zip(verdicts).collect());
            (group.map_err(|e| status::failed(&e)), broken)
        }
    });
    let results = taken
        .flat_map(|(group, broken)| futures_util::stream::iter([Some(group), broken.map(Err)].into_iter().flatten()));
    // A client that has ended its stream by itself gets its answer.
    let ending = futures_util::stream::once(async move { is_cut.load(Ordering::Relaxed) });
    let ending = ending.filter_map(|is_cut| async move {
        is_cut.then(|| Err(Status::unavailable("the hub is stopping; events without a key may have been kept")))
    });
    until_error(results.chain(ending))
}

/// A stream that ends behind its first error.
fn until_error<T>(stream: impl Stream<Item = Result<T, Status>>) -> impl Stream<Item = Result<T, Status>> {
    stream.scan(false, |failed, item| {
        let go_on = !*failed;
        *failed = item.is_err();
        std::future::ready(go_on.then_some(item))
    })
}

/// Acknowledges each event of a stream, in their order.
pub(super) fn acks(api: Api, caller: Caller, events: Streaming<Event>) -> impl Stream<Item = Result<Ack, Status>> {
    groups(api, caller, events).flat_map(|group| {
        let acks: Vec<_> = match group {
            Ok(group) => group.into_iter().map(|(mark, verdict)| Ok(message::ack(verdict, mark))).collect(),
            Err(status) => vec![Err(status)],
        };
        futures_util::stream::iter(acks)
    })
}

/// Takes all events of a stream, and adds up what became of them.
pub(super) async fn summary(api: Api, caller: Caller, events: Streaming<Event>) -> Result<Summary, Status> {
    let mut summary = Summary::default();
    let mut groups = std::pin::pin!(groups(api, caller, events));
    while let Some(group) = groups.next().await {
        group?.into_iter().for_each(|(_, verdict)| message::add(&mut summary, verdict));
    }
    Ok(summary)
}
