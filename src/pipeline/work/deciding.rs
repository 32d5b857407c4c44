//! Decides the events of one file, window by window.
//!
//! ```text
//!                     the worker's thread
//!  ┌────────┐ Item  ┌──────┐ Chunk  ┌────────┐ Chunk, funds ┌────────┐ accepted, rejected  ┌─────────┐
//!  │ Window ├──────►│ plan ├───────►│ chunks ├─────────────►│ settle ├────────────────────►│ FileOutcome │
//!  └────────┘       └──┬───┘        └───▲────┘              └─┬────┬─┘                     └─────────┘
//!                      │ ask            │ funds               │    │ held, credits         ┌─────────┐
//!                      │    ┌───────────┴─┐              add  │    └──────────────────────►│  Lists  │
//!                      └───►│   Debits    │                   │                            └─────────┘
//!                           │ thread bank │            ┌──────▼───────┐ recorded, taken     ┌──────────┐
//!                           └─────────────┘            │    Orders    ├────────────────────►│ Gathered │
//!                                                      │ thread cache │                     └──────────┘
//!                                                      └──────────────┘
//! ```
//!
//! [`Deciding`] is `plan` and `settle`, and what both know: the state and the lines in flight. A chunk is planned, the
//! bank is asked for its debits, and its lines are settled in their order. While the bank works on one chunk, the next
//! ones are planned and the one before is settled. The cache-service is told of every decided order, a thousand at a
//! time, and answers beside all this.
//!
//! No credit is paid before every debit of the file was asked. Money that is given back can therefore be spent from the
//! next file on only, so that the decisions depend neither on the chunks nor on how often the file is worked on.

use std::collections::VecDeque;
use std::path::Path;

use super::gathered::Gathered;
use super::outcome::FileOutcome;
use super::services::{Debits, Orders, Services};
use super::spill::SpillBuffer;
use super::state_cache::StateCache;
use super::window::{Item, Window};
use crate::pipeline::claim::fault::Fault;
use crate::pipeline::claim::lease::Lease;
use crate::pipeline::event::{Event, Payload};
use crate::pipeline::rules::money::Funds;
use crate::pipeline::rules::{
    self, Decision, LinePlace, LinePlan, LineVerdict, LinesInFlight, Planned, RuleError, TradePolicy,
};
use crate::pipeline::task::{Class, FileName};
use crate::pipeline::trade::{EarlyReturn, NewOrder, Operation, OrderId, OrderState};

/// Chunks that are planned and not settled: one that the bank works on, and those that wait for it.
const CHUNKS_MAX: usize = 3;

/// A file in the middle of being decided.
pub(super) struct Deciding<'a> {
    pub(super) file: &'a FileName,
    pub(super) books: StateCache<'a>,
    pub(super) outcome: FileOutcome,
    pub(super) lists: Lists,
    pub(super) policy: TradePolicy,
    lease: &'a Lease,
    in_flight: LinesInFlight,
}

/// What is dealt with once the events of the file are decided.
pub(super) struct Lists {
    /// Returns of unknown purchases.
    pub(super) held: SpillBuffer<EarlyReturn>,
    /// What is to be paid.
    pub(super) credits: SpillBuffer<Operation>,
}

/// Events that are planned, and wait for the bank if it was asked.
struct Chunk<'w> {
    planned: Vec<(Item<'w>, Planned)>,
    /// Which of them it was asked for.
    asked: Vec<usize>,
}

impl Lists {
    /// Empty lists that spill into this folder.
    pub(super) fn new(folder: &Path) -> Self {
        let folder = || folder.to_owned();
        Self { held: SpillBuffer::new(folder()), credits: SpillBuffer::new(folder()) }
    }
}

impl<'a> Deciding<'a> {
    /// Begins with a file.
    pub(super) fn new(
        file: &'a FileName,
        books: StateCache<'a>,
        outcome: FileOutcome,
        lists: Lists,
        policy: TradePolicy,
        lease: &'a Lease,
    ) -> Self {
        Self { file, books, outcome, lists, policy, lease, in_flight: LinesInFlight::default() }
    }

    /// Decides the lines of a window; the cache-service is told of their orders, and what waited for these is gathered.
    pub(super) fn decide(
        &mut self,
        window: &Window,
        services: &mut Services,
        gathered: &mut Gathered<'_>,
    ) -> Result<(), Fault> {
        let (mut next, mut chunks) = (0, VecDeque::new());
        loop {
            while chunks.len() < CHUNKS_MAX {
                let planned = self.plan(window, next)?;
                if planned.is_empty() {
                    break;
                }
                next += planned.len();
                chunks.push_back(Chunk::ask(planned, &mut services.debits));
            }
            match chunks.pop_front() {
                Some(chunk) => self.settle_chunk(&chunk, services)?,
                None => break,
            }
            self.lease.check()?;
            services.orders.tell_if_many(gathered)?;
        }
        if let Some(item) = window.item(next)? {
            return Err(Fault::Retryable(Class::Internal.tag(format!("line {} can never be decided", item.line))));
        }
        Ok(self.books.write_back()?)
    }

    /// Plans as many events as can be planned before those ahead of them are settled, a chunk of them at the most.
    fn plan<'w>(&mut self, window: &'w Window, first: usize) -> Result<Vec<(Item<'w>, Planned)>, Fault> {
        let mut all = Vec::new();
        while all.len() < window.chunk()
            && let Some(item) = window.item(first + all.len())?
        {
            let place = LinePlace { file: self.file, line: item.line };
            let Some(planned) = rules::plan(&item.event, place, &self.in_flight, &mut self.books)? else {
                break;
            };
            if let Planned::Open(plan) = &planned {
                self.in_flight.note(&item.event, item.line, plan);
            }
            all.push((item, planned));
        }
        Ok(all)
    }

    fn settle_chunk(&mut self, chunk: &Chunk<'_>, services: &mut Services) -> Result<(), Fault> {
        let funds = chunk.funds(&mut services.debits)?;
        for ((item, planned), funds) in chunk.planned.iter().zip(funds) {
            self.settle(item, planned, funds, &mut services.orders)?;
        }
        Ok(self.books.write_orders()?)
    }

    fn settle(&mut self, item: &Item<'_>, planned: &Planned, funds: Funds, orders: &mut Orders) -> Result<(), Fault> {
        let place = LinePlace { file: self.file, line: item.line };
        let verdict = match planned {
            Planned::Decided(decision) => LineVerdict::from(decision.clone()),
            Planned::Open(plan) => {
                let verdict = rules::settle(&item.event, place, plan, funds, self.policy, &mut self.books)?;
                self.in_flight.settled(&item.event, item.line, plan);
                if let Some(order) = order_of(item, &verdict.decision)? {
                    orders.add(order);
                }
                verdict
            }
        };
        self.carry_out(&item.event, place, item.raw, &verdict)
    }

    /// Does what was decided about a line: it goes on, is counted, is kept with its reject, or is held. What is to be paid
    /// out is noted, and paid when no debit of the file is left.
    pub(super) fn carry_out(
        &mut self,
        event: &Event<'_>,
        place: LinePlace<'_>,
        raw: &[u8],
        verdict: &LineVerdict,
    ) -> Result<(), Fault> {
        if let Some(credit) = &verdict.credit {
            self.lists.credits.push(credit)?;
        }
        match &verdict.decision {
            Decision::Accept(effect) => self.outcome.accept(event, effect, place),
            Decision::Duplicate { .. } => {
                self.outcome.counts.duplicate += 1;
                Ok(())
            }
            Decision::Reject(reject) => self.outcome.reject(place, reject, raw),
            Decision::Hold => {
                let (raw, order) = (String::from_utf8_lossy(raw).into_owned(), order_id(event)?);
                Ok(self.lists.held.push(&EarlyReturn { line: place.line, order, happened_at: event.at, raw })?)
            }
        }
    }
}

impl<'w> Chunk<'w> {
    /// Asks the bank for the debits of the plans, in their order.
    fn ask(planned: Vec<(Item<'w>, Planned)>, debits: &mut Debits) -> Self {
        let debit_of = |planned: &Planned| match planned {
            Planned::Open(LinePlan { debit, .. }) => debit.clone(),
            _ => None,
        };
        let all = planned.iter().enumerate().filter_map(|(index, (_, planned))| Some((index, debit_of(planned)?)));
        let (asked, operations): (Vec<_>, Vec<_>) = all.unzip();
        if !operations.is_empty() {
            debits.ask(operations);
        }
        Self { planned, asked }
    }

    /// What the bank says to each of the events.
    fn funds(&self, debits: &mut Debits) -> Result<Vec<Funds>, Fault> {
        let mut funds = vec![Funds::NotAsked; self.planned.len()];
        if !self.asked.is_empty() {
            for (index, answer) in self.asked.iter().zip(debits.funds()?) {
                funds[*index] = answer;
            }
        }
        Ok(funds)
    }
}

/// The cache-service has to know of every purchase that was made or refused.
fn order_of(item: &Item<'_>, decision: &Decision) -> Result<Option<NewOrder>, Fault> {
    let state = match decision {
        Decision::Accept(_) => OrderState::Accepted,
        Decision::Reject(_) => OrderState::Rejected,
        _ => return Ok(None),
    };
    match item.event.payload {
        Payload::Purchase { shop_id, .. } => Ok(Some(NewOrder { order: order_id(&item.event)?, shop_id, state })),
        _ => Ok(None),
    }
}

/// The order of a purchase or a return. Their shape leaves no room for another.
fn order_id(event: &Event<'_>) -> Result<OrderId, Fault> {
    let number = event.payload.order_id();
    number.and_then(OrderId::new).ok_or_else(|| {
        RuleError::Logic(format!("an event of type {} has the order {number:?}", event.payload.kind().number())).into()
    })
}
