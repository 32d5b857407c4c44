//! Deciding the events of one file, window by window.
//!
//! Per window: plan all events and collect their debits; ask the bank; settle all events in their order. Nothing is
//! credited before every debit of the file was asked: what is given back can be spent from the next file on, so that
//! what is decided depends neither on the windows nor on how often the file is worked on.

use std::path::Path;

use super::bank::{Bank, OPERATIONS_MAX, Outcome as Answer, Refusal};
use super::books::Books;
use super::outcome::Outcome;
use super::spool::Spool;
use super::window::{Item, Window};
use crate::event::{Money, Payload};
use crate::pipeline::fault::Fault;
use crate::pipeline::lease::Lease;
use crate::rules::money::{Direction, Funds, Operation};
use crate::rules::{self, Ahead, Decision, Place, Planned, Policy, Verdict};
use crate::task::FileName;

/// Bytes of the operations, orders or returns of one call.
pub(super) const CALL_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A file in the middle of being decided.
pub(super) struct Deciding<'a> {
    pub(super) file: &'a FileName,
    pub(super) books: Books<'a>,
    pub(super) bank: &'a mut dyn Bank,
    pub(super) outcome: Outcome,
    pub(super) lists: Lists,
    pub(super) policy: Policy,
    pub(super) lease: &'a Lease,
    ahead: Ahead,
}

/// What is dealt with once the events of the file are decided.
pub(super) struct Lists {
    /// Orders that were accepted or rejected: id, shop, whether accepted.
    pub(super) orders: Spool<(i64, i64, bool)>,
    /// Returns of unknown purchases: line, moment, order, the line's text.
    pub(super) held: Spool<(u64, i64, i64, String)>,
    /// Credits: key, user, amount, reason.
    pub(super) credits: Spool<(String, i64, i64, String)>,
}

impl Lists {
    /// Empty lists that spill into this folder.
    pub(super) fn new(folder: &Path) -> Self {
        let folder = || folder.to_owned();
        Self { orders: Spool::new(folder()), held: Spool::new(folder()), credits: Spool::new(folder()) }
    }
}

impl<'a> Deciding<'a> {
    /// Begins with a file.
    pub(super) fn new(
        file: &'a FileName,
        books: Books<'a>,
        bank: &'a mut dyn Bank,
        outcome: Outcome,
        lists: Lists,
        policy: Policy,
        lease: &'a Lease,
    ) -> Self {
        Self { file, books, bank, outcome, lists, policy, lease, ahead: Ahead::default() }
    }

    /// Decides the lines of a window.
    pub(super) fn decide(&mut self, window: &Window) -> Result<(), Fault> {
        let changed = |reject: crate::event::Reject| {
            Fault::Attempt(format!("a line that was well-formed a moment ago is not any more: {}", reject.detail))
        };
        let items = window.items().map_err(changed)?;
        let mut rest = &items[..];
        while !rest.is_empty() {
            self.lease.check()?;
            let planned = self.plan(rest)?;
            let funds = self.ask(&planned)?;
            for ((item, planned), funds) in rest.iter().zip(&planned).zip(funds) {
                self.settle(item, planned, funds)?;
            }
            self.ahead.clear();
            rest = &rest[planned.len()..];
        }
        Ok(self.books.write_back()?)
    }

    /// Plans as many events as can be planned before the first of them is settled.
    fn plan(&mut self, items: &[Item<'_>]) -> Result<Vec<Planned>, Fault> {
        let mut all = Vec::with_capacity(items.len());
        for item in items {
            let place = Place { file: self.file, line: item.line };
            let planned = rules::plan(&item.event, place, &self.ahead, &mut self.books)?;
            match &planned {
                Planned::TooEarly if all.is_empty() => {
                    return Err(Fault::Attempt(format!("line {} can never be decided", item.line)));
                }
                Planned::TooEarly => break,
                Planned::Open(plan) => self.ahead.note(&item.event, item.line, plan),
                Planned::Decided(_) => {}
            }
            all.push(planned);
        }
        Ok(all)
    }

    /// Asks the bank for the debits of the plans, in their order.
    fn ask(&mut self, planned: &[Planned]) -> Result<Vec<Funds>, Fault> {
        let mut funds = vec![Funds::NotAsked; planned.len()];
        let (mut asked, mut debits) = (Vec::new(), Vec::new());
        for (index, planned) in planned.iter().enumerate() {
            if let Planned::Open(plan) = planned
                && let Some(debit) = &plan.debit
            {
                asked.push(index);
                debits.push(debit.clone());
            }
        }
        while !debits.is_empty() {
            self.lease.check()?;
            let count = debits.len().min(OPERATIONS_MAX);
            match self.bank.apply(&debits[..count]) {
                Ok(answers) if answers.len() == count => {
                    for (index, answer) in asked.drain(..count).zip(answers) {
                        funds[index] = match answer {
                            Answer::Applied => Funds::Applied,
                            Answer::InsufficientFunds => Funds::Insufficient,
                        };
                    }
                    debits.drain(..count);
                }
                Ok(answers) => return Err(wrong_count("bank", answers.len(), count)),
                // Nothing was done: again without this one, which can never be paid.
                Err(Refusal::Conflict(key)) => {
                    let Some(at) = debits.iter().position(|debit| debit.key == key) else {
                        return Err(Fault::Attempt(format!("the bank refuses the key '{key}', which was not asked")));
                    };
                    funds[asked.remove(at)] = Funds::Conflict;
                    debits.remove(at);
                }
                Err(Refusal::Fault(fault)) => return Err(fault),
            }
        }
        Ok(funds)
    }

    fn settle(&mut self, item: &Item<'_>, planned: &Planned, funds: Funds) -> Result<(), Fault> {
        let place = Place { file: self.file, line: item.line };
        let verdict = match planned {
            Planned::Decided(decision) => Verdict::from(decision.clone()),
            Planned::Open(plan) => {
                let verdict = rules::settle(&item.event, place, plan, funds, self.policy, &mut self.books)?;
                self.note_order(item, &verdict.decision)?;
                verdict
            }
            Planned::TooEarly => return Err(Fault::Attempt(format!("line {} was not planned", item.line))),
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

    /// The directory has to know of every purchase that was made or refused.
    fn note_order(&mut self, item: &Item<'_>, decision: &Decision) -> Result<(), Fault> {
        let accepted = match decision {
            Decision::Accept(_) => true,
            Decision::Reject(_) => false,
            _ => return Ok(()),
        };
        if let Payload::Purchase { order_id, shop_id, .. } = item.event.payload {
            self.lists.orders.push(&(order_id, shop_id, accepted))?;
        }
        Ok(())
    }

    fn hold(&mut self, item: &Item<'_>) -> Result<(), Fault> {
        let raw = String::from_utf8_lossy(item.raw).into_owned();
        let order_id = item.event.payload.order_id().unwrap_or_default();
        Ok(self.lists.held.push(&(item.line, item.event.at.unix_ms(), order_id, raw))?)
    }

    /// Notes a credit, to be paid when no debit of the file is left.
    pub(super) fn owe(&mut self, credit: &Operation) -> Result<(), Fault> {
        let Operation { key, user_id, amount, reason, .. } = credit;
        Ok(self.lists.credits.push(&(key.clone(), *user_id, amount.minor(), reason.clone()))?)
    }
}

/// Pays what is owed.
pub(super) fn pay(credits: Spool<(String, i64, i64, String)>, bank: &mut dyn Bank, lease: &Lease) -> Result<(), Fault> {
    credits.drain(OPERATIONS_MAX, CALL_BYTES_MAX, |batch| {
        lease.check()?;
        let operation = |(key, user_id, amount, reason)| Operation {
            key,
            user_id,
            direction: Direction::Credit,
            amount: Money::from_minor(amount),
            reason,
        };
        let operations: Vec<_> = batch.into_iter().map(operation).collect();
        match bank.apply(&operations) {
            Ok(answers) if answers.len() != operations.len() => {
                Err(wrong_count("bank", answers.len(), operations.len()))
            }
            Ok(answers) => match answers.iter().position(|answer| *answer != Answer::Applied) {
                None => Ok(()),
                Some(at) => Err(Fault::Attempt(format!("the bank refuses the credit '{}'", operations[at].key))),
            },
            Err(Refusal::Conflict(key)) => {
                Err(Fault::Attempt(format!("the bank knows the credit '{key}' with another amount or user")))
            }
            Err(Refusal::Fault(fault)) => Err(fault),
        }
    })
}

/// Somebody answered something else than was asked.
pub(super) fn wrong_count(who: &str, answers: usize, asked: usize) -> Fault {
    Fault::Surroundings(format!("the {who} gave {answers} answers to {asked} questions"))
}
