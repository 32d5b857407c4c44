//! The two services while a file is decided: each is asked on a thread of its own, one call after another.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Scope;

use super::background::BackgroundCaller;
use super::bank::{Bank, BankError};
use super::cache_service::CacheService;
use super::calls::{CALL_BYTES_MAX, wrong_count};
use super::gathered::Gathered;
use super::spill::SpillBuffer;
use crate::pipeline::claim::fault::Fault;
use crate::pipeline::claim::lease::Lease;
use crate::pipeline::rules::money::Funds;
use crate::pipeline::task::{Class, TaskKey};
use crate::pipeline::trade::account::OPERATIONS_MAX;
use crate::pipeline::trade::{NewOrder, Operation, Outcome, Recorded, Taken};

/// Orders that the cache-service is told of at once.
const ORDERS_PER_CALL: usize = 1_000;
/// Calls to the cache-service that have no answer yet: what came of them is held until it is looked at.
const TOLD_MAX: usize = 4;

/// Both services, for one task.
pub(super) struct Services {
    /// The bank, for debits.
    pub(super) debits: Debits,
    /// The cache-service, for decided orders.
    pub(super) orders: Orders,
}

/// Asks the bank for debits.
pub(super) struct Debits(BackgroundCaller<Vec<Operation>, Vec<Funds>>);

/// Tells the cache-service of decided orders, and hears which returns waited for them.
pub(super) struct Orders {
    cache: BackgroundCaller<Vec<NewOrder>, (Vec<Recorded>, Vec<Taken>)>,
    /// Those of the next call.
    next: Vec<NewOrder>,
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
            debits: Debits(BackgroundCaller::start(scope, "bank", ask)?),
            orders: Orders { cache: BackgroundCaller::start(scope, "cache", tell)?, next: Vec::new() },
        })
    }
}

impl Debits {
    /// Asks for debits, and does not wait.
    pub(super) fn ask(&mut self, debits: Vec<Operation>) {
        self.0.ask(debits);
    }

    /// Waits for what came of the debits that were asked for first and not heard of; one for each.
    ///
    /// # Errors
    /// The fault of this call, or of one before it.
    pub(super) fn funds(&mut self) -> Result<Vec<Funds>, Fault> {
        self.0.next_answer()
    }
}

impl Orders {
    /// Adds an order to the next call.
    pub(super) fn add(&mut self, order: NewOrder) {
        self.next.push(order);
    }

    /// Tells of the orders that have come together, if they are worth a call; hears of earlier ones if too many calls are
    /// open.
    ///
    /// # Errors
    /// The fault of a call, or whatever gathering fails with.
    pub(super) fn tell_if_many(&mut self, gathered: &mut Gathered<'_>) -> Result<(), Fault> {
        if self.next.len() < ORDERS_PER_CALL {
            return Ok(());
        }
        self.hear(TOLD_MAX, gathered)?;
        self.tell();
        Ok(())
    }

    /// Tells of the orders that are left, and hears of all.
    ///
    /// # Errors
    /// As for [`Orders::tell_if_many`].
    pub(super) fn finish(mut self, gathered: &mut Gathered<'_>) -> Result<(), Fault> {
        self.tell();
        self.hear(0, gathered)
    }

    fn tell(&mut self) {
        if !self.next.is_empty() {
            self.cache.ask(std::mem::take(&mut self.next));
        }
    }

    /// Waits until no more than so many calls are open.
    fn hear(&mut self, open: usize, gathered: &mut Gathered<'_>) -> Result<(), Fault> {
        while self.cache.open() > open {
            let (recorded, taken) = self.cache.next_answer()?;
            gathered.recorded(&recorded, taken)?;
        }
        Ok(())
    }
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
            Ok(answers) => match answers.iter().position(|answer| *answer != Outcome::Applied) {
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
