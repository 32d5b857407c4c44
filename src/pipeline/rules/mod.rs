//! What the worker decides about one event, as pure functions over a state trait (docs/semantics.md, 4).
//!
//! The rules stand in the order in which they are asked; the first that fails decides. Shape comes before all of them
//! and is [`crate::pipeline::event::shape`]. Each further rule is a file of its own here: [`duplicate`], [`purchase`],
//! [`returned`], [`stock`] (counts and prices); [`money`] says what is asked of the bank, and under which keys; [`state`] is
//! what the rules ask of those before.
//!
//! An event is decided in two steps, because money is asked for many purchases at once. [`plan`] is what needs neither
//! money nor stock: keys, shops, prices, and with them the debit. [`settle`] is the rest: the bank's answer, stock,
//! orders, returns. The steps share nothing that both change, so that many events may be planned before the first of
//! them is settled, and everything is decided as if they had gone one by one. Where that would not be so, there is no
//! plan yet: the events before it have to be settled first.
//!
//! A key belongs to an event that was accepted. One that is rejected, or held, gives its key back: its line may come
//! again, and is decided anew then.

pub mod duplicate;
pub mod money;
pub mod purchase;
pub mod returned;
pub mod state;
pub mod stock;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::Hash;

use crate::base::db;
use crate::pipeline::event::{Event, Money, Payload, Reject};
use crate::pipeline::task::FileName;
use crate::pipeline::trade::Operation;
use money::Funds;
use purchase::{Purchase, PurchaseTerms};
pub use state::{OrderStatus, Remembered, TradeOrder, TradeState};

/// The answer of a rule, or why there is none.
pub type Result<T> = std::result::Result<T, RuleError>;

/// Why an event was not decided. It is not refused then: nothing is wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// The state did not answer.
    #[error(transparent)]
    State(#[from] db::Error),
    /// The rules contradict themselves: the program is wrong, and neither the event nor a database.
    #[error("the rules contradict themselves, which is a fault of this program: {0}")]
    Logic(String),
}

/// Where a line stood in an event file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinePlace<'a> {
    /// The event file.
    pub file: &'a FileName,
    /// The line's number there, from 1.
    pub line: u64,
}

/// What the rules leave to the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TradePolicy {
    /// Whether goods that are not counted cannot be bought.
    pub untracked_is_none: bool,
}

/// What an accepted event comes to, beside what it says itself: what the books need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effect {
    /// For how much apiece a purchase was made.
    pub price: Option<Money>,
    /// What it does to the count of the good, where that is counted.
    pub stock: Option<i64>,
    /// How much a return gave back.
    pub refund: Option<Money>,
    /// Where a return's purchase was made: its goods go back there, whatever shop it names.
    pub shop: Option<i64>,
}

/// What becomes of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It goes on to the sender.
    Accept(Effect),
    /// It says what an earlier line said.
    Duplicate {
        /// Where that line stood.
        file: FileName,
        /// Its number there.
        line: u64,
    },
    /// It is refused.
    Reject(Reject),
    /// It is a return of a purchase that never came so far.
    Hold,
}

/// What becomes of an event, and what has to be paid out for that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineVerdict {
    /// What becomes of it.
    pub decision: Decision,
    /// A credit, to be asked once all debits of the file were.
    pub credit: Option<Operation>,
}

/// An event that is planned and has to be settled, in its turn.
#[derive(Debug, Clone)]
pub struct LinePlan {
    /// What has to be asked of the bank first.
    pub debit: Option<Operation>,
    /// For purchases: on which terms, or why not.
    purchase: Option<(Purchase, std::result::Result<PurchaseTerms, Reject>)>,
    /// It says the same as an event that is planned and not settled.
    is_copy: bool,
}

/// What [`plan`] comes to.
#[derive(Debug, Clone)]
pub enum Planned {
    /// There is nothing to settle.
    Decided(Decision),
    /// It has to be settled after all events before it.
    Open(LinePlan),
}

/// The events that are planned and not settled.
#[derive(Debug, Default)]
pub struct LinesInFlight {
    /// By line, whether money is asked for them.
    lines: HashMap<u64, bool>,
    /// Orders of purchases, and how many of these there are.
    orders: HashMap<i64, u32>,
    /// Keys of copies, and how many of these there are. Their original may be settled, and its key free again.
    copies: HashMap<Vec<u8>, u32>,
}

impl LinesInFlight {
    /// Notes an event that was planned.
    pub fn note(&mut self, event: &Event<'_>, line: u64, plan: &LinePlan) {
        self.lines.insert(line, plan.debit.is_some());
        if let (Some(_), Some(order_id)) = (&plan.purchase, event.payload.order_id()) {
            *self.orders.entry(order_id).or_default() += 1;
        }
        if plan.is_copy
            && let Some(key) = duplicate::key_of(event)
        {
            *self.copies.entry(key).or_default() += 1;
        }
    }

    /// The event is settled: it is ahead no more.
    pub fn settled(&mut self, event: &Event<'_>, line: u64, plan: &LinePlan) {
        self.lines.remove(&line);
        if let (Some(_), Some(order_id)) = (&plan.purchase, event.payload.order_id()) {
            take_one(&mut self.orders, &order_id);
        }
        if plan.is_copy
            && let Some(key) = duplicate::key_of(event)
        {
            take_one(&mut self.copies, &key);
        }
    }

    fn has_copy_of(&self, event: &Event<'_>) -> bool {
        !self.copies.is_empty() && duplicate::key_of(event).is_some_and(|key| self.copies.contains_key(&key))
    }
}

fn take_one<K: Eq + Hash>(counts: &mut HashMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// The first step: what needs neither money nor stock. All events of `ahead` are of the file of this one. `None` if some of
/// them have to be settled before this one can be planned; nothing was noted then.
///
/// # Errors
/// [`RuleError`]: an event is never refused because something around us does not work.
pub fn plan(
    event: &Event<'_>,
    place: LinePlace<'_>,
    ahead: &LinesInFlight,
    state: &mut impl TradeState,
) -> Result<Option<Planned>> {
    let mut original = None;
    match duplicate::look(event, place, state)? {
        Remembered::New | Remembered::Here => {}
        Remembered::Elsewhere { file, line } => match ahead.lines.get(&line).filter(|_| file == *place.file) {
            Some(has_debit) => original = Some(*has_debit),
            None => return Ok(Some(Planned::Decided(Decision::Duplicate { file, line }))),
        },
        Remembered::OtherContent { file, line } => {
            if file == *place.file && ahead.lines.contains_key(&line) {
                return Ok(None);
            }
            return Ok(Some(Planned::Decided(duplicate::conflict(event, &file, line))));
        }
    }
    let planned = match original {
        // The key is free again, and the copy's turn comes first.
        None if ahead.has_copy_of(event) => None,
        None => plan_new(event, ahead, state)?,
        Some(has_debit) => plan_copy(event, has_debit, state)?,
    };
    if original.is_none() && matches!(planned, None | Some(Planned::Decided(Decision::Reject(_)))) {
        duplicate::give_back(event, state)?;
    }
    Ok(planned)
}

fn plan_new(event: &Event<'_>, ahead: &LinesInFlight, state: &mut impl TradeState) -> Result<Option<Planned>> {
    let Some(purchase) = Purchase::of(&event.payload) else {
        return Ok(Some(match event.payload {
            Payload::PriceChange { shop_id, good_id, new_price, .. } => {
                Planned::Decided(stock::change_price(shop_id, good_id, new_price, state))
            }
            Payload::ShopStatus { shop_id, active } => {
                state.set_open(shop_id, active);
                Planned::Decided(Decision::Accept(Effect::default()))
            }
            _ => Planned::Open(LinePlan { debit: None, purchase: None, is_copy: false }),
        }));
    };
    if ahead.orders.contains_key(&purchase.order_id()) {
        return Ok(None);
    }
    if let Some(reject) = purchase.refused_before(state)? {
        return Ok(Some(Planned::Decided(Decision::Reject(reject))));
    }
    let terms = purchase.terms(state)?;
    let debit = match &terms {
        Ok(terms) => purchase.debit(terms)?,
        Err(_) => None,
    };
    Ok(Some(Planned::Open(LinePlan { debit, purchase: Some((purchase, terms)), is_copy: false })))
}

/// An event that says what one before it says. Should that one be rejected, this one is decided on its own; if money
/// was asked for that one, the answer is for good, and this one needs none.
fn plan_copy(event: &Event<'_>, has_debit: bool, state: &mut impl TradeState) -> Result<Option<Planned>> {
    let Some(purchase) = Purchase::of(&event.payload) else {
        return Ok(Some(Planned::Open(LinePlan { debit: None, purchase: None, is_copy: true })));
    };
    let terms = purchase.terms(state)?;
    if let Ok(terms) = &terms
        && !has_debit
        && purchase.debit(terms)?.is_some()
    {
        return Ok(None);
    }
    Ok(Some(Planned::Open(LinePlan { debit: None, purchase: Some((purchase, terms)), is_copy: true })))
}

/// The second step, once all events before this one are settled. `funds` is the answer to the plan's debit.
///
/// # Errors
/// As [`plan`].
pub fn settle(
    event: &Event<'_>,
    place: LinePlace<'_>,
    plan: &LinePlan,
    funds: Funds,
    policy: TradePolicy,
    state: &mut impl TradeState,
) -> Result<LineVerdict> {
    if plan.is_copy {
        match duplicate::look(event, place, state)? {
            Remembered::New | Remembered::Here => {}
            Remembered::Elsewhere { file, line } => return Ok(Decision::Duplicate { file, line }.into()),
            Remembered::OtherContent { file, line } => return Ok(duplicate::conflict(event, &file, line).into()),
        }
    }
    let verdict = match (&plan.purchase, &event.payload) {
        (Some((purchase, terms)), _) => purchase.settle(terms, plan, funds, policy, state)?,
        (None, Payload::Restock { shop_id, good_id, delta_count, .. }) => {
            stock::restock(*shop_id, *good_id, *delta_count, state)?.into()
        }
        (None, _) => returned::settle(event, place, state)?,
    };
    if !matches!(verdict.decision, Decision::Accept(_)) {
        duplicate::give_back(event, state)?;
    }
    Ok(verdict)
}

/// Both steps for an event that needs no money.
///
/// # Errors
/// As [`plan`].
pub fn decide(
    event: &Event<'_>,
    place: LinePlace<'_>,
    policy: TradePolicy,
    state: &mut impl TradeState,
) -> Result<LineVerdict> {
    match plan(event, place, &LinesInFlight::default(), state)? {
        Some(Planned::Decided(decision)) => Ok(decision.into()),
        Some(Planned::Open(plan)) => settle(event, place, &plan, Funds::NotAsked, policy, state),
        // Nothing is ahead of it.
        None => Err(RuleError::Logic(format!("line {} waits for lines before it, and there are none", place.line))),
    }
}

impl From<Decision> for LineVerdict {
    fn from(decision: Decision) -> Self {
        Self { decision, credit: None }
    }
}
