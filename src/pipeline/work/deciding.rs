//! Decides the events of one file, chunk by chunk. A chunk is read and planned, the bank is asked for its debits, and
//! its lines are settled in their order. The bank is called in the background: while it works on one chunk, the next
//! chunks are planned and the chunk before is settled. The order directory is told of every decided order, in the
//! background too.
//!
//! No credit is paid before every debit of the file was asked. Money that is given back can therefore be spent from the
//! next file on only, so that the decisions depend neither on the chunks nor on how often the file is worked on.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Scope;

use super::background::BackgroundCaller;
use super::bank::{Bank, BankError};
use super::cache_service::CacheService;
use super::early::Gathered;
use super::outcome::Outcome;
use super::spill::SpillBuffer;
use super::state_cache::StateCache;
use super::window::{Item, Window};
use crate::pipeline::claim::fault::Fault;
use crate::pipeline::claim::lease::Lease;
use crate::pipeline::event::{Event, Payload};
use crate::pipeline::rules::money::Funds;
use crate::pipeline::rules::{self, Decision, LinesInFlight, Place, Plan, Planned, Policy, RuleError, Verdict};
use crate::pipeline::task::{Class, FileName, TaskKey};
use crate::pipeline::trade::account::OPERATIONS_MAX;
use crate::pipeline::trade::{EarlyReturn, NewOrder, Operation, OrderId, OrderState, Outcome as Paid, Recorded, Taken};

/// Bytes of the operations or returns of one call.
pub(super) const CALL_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Chunks that are planned and not settled: one that the bank works on, and those that wait for it.
const AHEAD_MAX: usize = 3;
/// Orders that the directory is told of at once.
const ORDERS_PER_CALL: usize = 1_000;
/// Calls to the directory that have no answer yet: what came of them is held until it is looked at.
const TOLD_MAX: usize = 4;

/// A file in the middle of being decided.
pub(super) struct Deciding<'a> {
    pub(super) file: &'a FileName,
    pub(super) books: StateCache<'a>,
    pub(super) outcome: Outcome,
    pub(super) lists: Lists,
    pub(super) policy: Policy,
    pub(super) lease: &'a Lease,
    ahead: LinesInFlight,
}

/// What is dealt with once the events of the file are decided.
pub(super) struct Lists {
    /// Returns of unknown purchases.
    pub(super) held: SpillBuffer<EarlyReturn>,
    /// What is to be paid.
    pub(super) credits: SpillBuffer<Operation>,
}

/// The services while events are decided: asked aside, one question after another.
pub(super) struct Services {
    bank: BackgroundCaller<Vec<Operation>, Vec<Funds>>,
    cache: BackgroundCaller<Vec<NewOrder>, (Vec<Recorded>, Vec<Taken>)>,
    /// Orders that the directory is told of with the next call.
    orders: Vec<NewOrder>,
}

/// Events that are planned, and wait for the bank if it was asked.
struct Chunk<'w> {
    planned: Vec<(Item<'w>, Planned)>,
    /// Which of them it was asked for.
    asked: Vec<usize>,
}

impl Services {
    /// Begins to ask, for one task.
    ///
    /// # Errors
    /// [`Fault::Unavailable`] when the system has no threads to give.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        bank: &'scope mut dyn Bank,
        cache: &'scope mut dyn CacheService,
        by: &'scope TaskKey,
        lease: &'scope Lease,
    ) -> Result<Self, Fault> {
        let ask = move |debits: Vec<Operation>| ask(bank, debits, lease);
        let tell = move |orders: Vec<NewOrder>| {
            lease.check()?;
            cache.record_and_take(by, &orders)
        };
        Ok(Self {
            bank: BackgroundCaller::start(scope, "bank", ask)?,
            cache: BackgroundCaller::start(scope, "cache", tell)?,
            orders: Vec::new(),
        })
    }

    /// Tells the directory of the orders that it was not told of, and takes up what waited for all of them.
    pub(super) fn finish(mut self, gathered: &mut Gathered<'_>) -> Result<(), Fault> {
        self.tell();
        self.hear(0, gathered)
    }

    fn tell(&mut self) {
        if !self.orders.is_empty() {
            self.cache.ask(std::mem::take(&mut self.orders));
        }
    }

    /// Tells the directory of the orders that have come together, if they are worth a call.
    fn tell_if_many(&mut self, gathered: &mut Gathered<'_>) -> Result<(), Fault> {
        if self.orders.len() < ORDERS_PER_CALL {
            return Ok(());
        }
        self.hear(TOLD_MAX, gathered)?;
        self.tell();
        Ok(())
    }

    /// Waits until no more than so many calls to the directory are open.
    fn hear(&mut self, open: usize, gathered: &mut Gathered<'_>) -> Result<(), Fault> {
        while self.cache.open() > open {
            let (recorded, taken) = self.cache.next_answer()?;
            gathered.recorded(&recorded, taken)?;
        }
        Ok(())
    }
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
        outcome: Outcome,
        lists: Lists,
        policy: Policy,
        lease: &'a Lease,
    ) -> Self {
        Self { file, books, outcome, lists, policy, lease, ahead: LinesInFlight::default() }
    }

    /// Decides the lines of a window; the directory is told of their orders, and what waited for these is gathered.
    pub(super) fn decide(
        &mut self,
        window: &Window,
        services: &mut Services,
        gathered: &mut Gathered<'_>,
    ) -> Result<(), Fault> {
        std::thread::scope(|scope| {
            let read = |lines| {
                window.items(lines).map_err(|reject| {
                    let why = reject.detail;
                    Fault::Retryable(
                        Class::Internal.tag(format!("a line that was well-formed a moment ago is not any more: {why}")),
                    )
                })
            };
            let (mut read, mut unread) = (BackgroundCaller::start(scope, "lines", read)?, window.chunks());
            let (mut unplanned, mut chunks) = (VecDeque::new(), VecDeque::new());
            loop {
                while chunks.len() < AHEAD_MAX {
                    while read.open() < AHEAD_MAX
                        && let Some(lines) = unread.next()
                    {
                        read.ask(lines);
                    }
                    if unplanned.is_empty() && read.open() > 0 {
                        unplanned.extend(read.next_answer()?);
                    }
                    let planned = self.plan(&mut unplanned)?;
                    if planned.is_empty() {
                        break;
                    }
                    chunks.push_back(Chunk::ask(planned, services));
                }
                match (chunks.pop_front(), unplanned.front()) {
                    (Some(chunk), _) => self.settle_chunk(chunk, services)?,
                    (None, None) => break,
                    (None, Some(item)) => {
                        return Err(Fault::Retryable(
                            Class::Internal.tag(format!("line {} can never be decided", item.line)),
                        ));
                    }
                }
                self.lease.check()?;
                services.tell_if_many(gathered)?;
            }
            Ok(self.books.write_back()?)
        })
    }

    /// Plans as many events as can be planned before those ahead of them are settled.
    fn plan<'w>(&mut self, unplanned: &mut VecDeque<Item<'w>>) -> Result<Vec<(Item<'w>, Planned)>, Fault> {
        let mut all = Vec::with_capacity(unplanned.len());
        while let Some(item) = unplanned.pop_front() {
            let place = Place { file: self.file, line: item.line };
            let planned = rules::plan(&item.event, place, &self.ahead, &mut self.books)?;
            match &planned {
                Planned::Blocked => {
                    unplanned.push_front(item);
                    break;
                }
                Planned::Open(plan) => self.ahead.note(&item.event, item.line, plan),
                Planned::Decided(_) => {}
            }
            all.push((item, planned));
        }
        Ok(all)
    }

    fn settle_chunk(&mut self, chunk: Chunk<'_>, services: &mut Services) -> Result<(), Fault> {
        let funds = chunk.answer(services)?;
        for ((item, planned), funds) in chunk.planned.iter().zip(funds) {
            self.settle(item, planned, funds, services)?;
        }
        Ok(self.books.write_orders()?)
    }

    fn settle(
        &mut self,
        item: &Item<'_>,
        planned: &Planned,
        funds: Funds,
        services: &mut Services,
    ) -> Result<(), Fault> {
        let place = Place { file: self.file, line: item.line };
        let verdict = match planned {
            Planned::Decided(decision) => Verdict::from(decision.clone()),
            Planned::Open(plan) => {
                let verdict = rules::settle(&item.event, place, plan, funds, self.policy, &mut self.books)?;
                self.ahead.settled(&item.event, item.line, plan);
                services.orders.extend(order_of(item, &verdict.decision)?);
                verdict
            }
            Planned::Blocked => {
                return Err(Fault::Retryable(Class::Internal.tag(format!("line {} was not planned", item.line))));
            }
        };
        if let Some(credit) = &verdict.credit {
            self.owe(credit)?;
        }
        match &verdict.decision {
            Decision::Accept(effect) => self.outcome.accept(&item.event, effect, place),
            Decision::Duplicate { .. } => {
                self.outcome.counts.duplicate += 1;
                Ok(())
            }
            Decision::Reject(reject) => self.outcome.reject(place, reject, item.raw),
            Decision::Hold => self.hold(item),
        }
    }

    fn hold(&mut self, item: &Item<'_>) -> Result<(), Fault> {
        let (raw, order) = (String::from_utf8_lossy(item.raw).into_owned(), order_id(&item.event)?);
        Ok(self.lists.held.push(&EarlyReturn { line: item.line, order, happened_at: item.event.at, raw })?)
    }

    /// Notes a credit, to be paid when no debit of the file is left.
    pub(super) fn owe(&mut self, credit: &Operation) -> Result<(), Fault> {
        Ok(self.lists.credits.push(credit)?)
    }
}

impl<'w> Chunk<'w> {
    /// Asks the bank for the debits of the plans, in their order.
    fn ask(planned: Vec<(Item<'w>, Planned)>, services: &mut Services) -> Self {
        let debit_of = |planned: &Planned| match planned {
            Planned::Open(Plan { debit, .. }) => debit.clone(),
            _ => None,
        };
        let debits = planned.iter().enumerate().filter_map(|(index, (_, planned))| Some((index, debit_of(planned)?)));
        let (asked, debits): (Vec<_>, Vec<_>) = debits.unzip();
        if !debits.is_empty() {
            services.bank.ask(debits);
        }
        Self { planned, asked }
    }

    /// What the bank says to each of the events.
    fn answer(&self, services: &mut Services) -> Result<Vec<Funds>, Fault> {
        let mut funds = vec![Funds::NotAsked; self.planned.len()];
        if !self.asked.is_empty() {
            for (index, answer) in self.asked.iter().zip(services.bank.next_answer()?) {
                funds[*index] = answer;
            }
        }
        Ok(funds)
    }
}

/// The directory has to know of every purchase that was made or refused.
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

/// Asks the bank for debits; one answer each.
fn ask(bank: &mut dyn Bank, mut debits: Vec<Operation>, lease: &Lease) -> Result<Vec<Funds>, Fault> {
    let mut funds = vec![Funds::Conflict; debits.len()];
    let mut asked: Vec<usize> = (0..debits.len()).collect();
    while !debits.is_empty() {
        lease.check()?;
        match bank.apply(&debits) {
            Ok(answers) if answers.len() == debits.len() => {
                for (index, answer) in asked.into_iter().zip(answers) {
                    funds[index] = Funds::Answered(answer);
                }
                break;
            }
            Ok(answers) => return Err(wrong_count("bank", answers.len(), debits.len())),
            // Nothing was done: again without this one, which can never be paid.
            Err(BankError::KeyConflict(key)) => {
                let Some(at) = debits.iter().position(|debit| debit.key == key) else {
                    return Err(Fault::Retryable(
                        Class::Internal.tag(format!("the bank refuses the key {key}, which was not asked")),
                    ));
                };
                asked.remove(at);
                debits.remove(at);
            }
            Err(BankError::Fault(fault)) => return Err(fault),
        }
    }
    Ok(funds)
}

/// Pays what is owed, unless it is over before.
pub(super) fn pay(
    credits: SpillBuffer<Operation>,
    bank: &mut dyn Bank,
    lease: &Lease,
    is_over: &AtomicBool,
) -> Result<(), Fault> {
    credits.drain(OPERATIONS_MAX, CALL_BYTES_MAX, |operations| {
        lease.check()?;
        if is_over.load(Ordering::Relaxed) {
            return Err(Fault::Stopped);
        }
        match bank.apply(&operations) {
            Ok(answers) if answers.len() != operations.len() => {
                Err(wrong_count("bank", answers.len(), operations.len()))
            }
            Ok(answers) => match answers.iter().position(|answer| *answer != Paid::Applied) {
                None => Ok(()),
                Some(at) => {
                    let why = format!("the bank refuses the credit {}", operations[at].key);
                    Err(Fault::Retryable(Class::ServiceRefused.tag(why)))
                }
            },
            Err(BankError::KeyConflict(key)) => {
                let why = format!("the bank knows the credit {key} with another amount or user");
                Err(Fault::Retryable(Class::KeyConflict.tag(why)))
            }
            Err(BankError::Fault(fault)) => Err(fault),
        }
    })
}

/// The fault when a service answered something else than was asked.
pub(super) fn wrong_count(who: &str, answers: usize, asked: usize) -> Fault {
    Fault::Unavailable(Class::ServiceAway.tag(format!("the {who} gave {answers} answers to {asked} questions")))
}
