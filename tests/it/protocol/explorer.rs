//! Explores every state that a model can reach, breadth first, so that the first violation found has a shortest way
//! to it; then looks backwards for states from which the end cannot be reached any more.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Debug;
use std::hash::Hash;

/// A system as a set of states and steps between them.
pub(super) trait Model {
    /// A state, in a form that is the same for states that cannot be told apart.
    type State: Clone + Eq + Hash + Debug;
    /// A step, by a name that a person understands.
    type Step: Clone + Debug;

    /// Where everything begins.
    fn start(&self) -> Self::State;
    /// All steps from a state, those of a hostile world too.
    fn steps(&self, state: &Self::State, steps: &mut Vec<Next<Self>>);
    /// What must never be true of a state, if it is.
    fn fault(&self, state: &Self::State) -> Option<String>;
    /// Whether this is an end.
    fn is_end(&self, state: &Self::State) -> bool;
}

/// A step and where it leads.
pub(super) struct Next<M: Model + ?Sized> {
    pub(super) step: M::Step,
    /// The state after it, or what is wrong with the step itself.
    pub(super) to: Result<M::State, String>,
    /// Whether it needs no fault: a world without kills and losses would do the same.
    pub(super) fair: bool,
}

/// What was explored.
pub(super) struct Explored<M: Model> {
    pub(super) states: usize,
    pub(super) steps: usize,
    pub(super) depth: u32,
    pub(super) ends: usize,
    /// The first violation: what it is, and the way to it.
    pub(super) violation: Option<(String, Vec<M::Step>)>,
}

/// How a state was first reached.
struct Seen<S> {
    from: usize,
    step: Option<S>,
    depth: u32,
}

/// Explores all states; stops at the first violation. More than `most` states are a fault of the model's bounds.
pub(super) fn explore<M: Model>(model: &M, most: usize) -> Explored<M> {
    let start = model.start();
    let mut numbers: HashMap<M::State, usize> = HashMap::from([(start.clone(), 0)]);
    let mut seen = vec![Seen { from: 0, step: None, depth: 0 }];
    let mut level = vec![(0, start)];
    // For each state, those that lead to it by a fair step.
    let mut fair: Vec<(u32, u32)> = Vec::new();
    let mut ends = Vec::new();
    let (mut steps, mut next) = (0, Vec::new());
    while !level.is_empty() {
        let mut deeper = Vec::new();
        for (number, state) in level {
            let depth = seen[number].depth;
            if let Some(fault) = model.fault(&state) {
                let violation = Some((fault, way_to(&seen, number)));
                return Explored { states: seen.len(), steps, depth, ends: ends.len(), violation };
            }
            if model.is_end(&state) {
                ends.push(number);
            }
            model.steps(&state, &mut next);
            for Next { step, to, fair: is_fair } in next.drain(..) {
                steps += 1;
                let to = match to {
                    Ok(to) => to,
                    Err(fault) => {
                        let mut way = way_to(&seen, number);
                        way.push(step);
                        let violation = Some((fault, way));
                        return Explored { states: seen.len(), steps, depth, ends: ends.len(), violation };
                    }
                };
                let target = match numbers.entry(to) {
                    Entry::Occupied(known) => *known.get(),
                    Entry::Vacant(free) => {
                        let target = seen.len();
                        assert!(target < most, "more than {most} states: the bounds of this model are too wide");
                        deeper.push((target, free.key().clone()));
                        free.insert(target);
                        seen.push(Seen { from: number, step: Some(step), depth: depth + 1 });
                        target
                    }
                };
                if is_fair && target != number {
                    fair.push((narrow(target), narrow(number)));
                }
            }
        }
        level = deeper;
    }
    let depth = seen.last().map_or(0, |last| last.depth);
    let violation = stuck(&ends, fair, seen.len())
        .map(|number| ("no end can be reached from here, however kind the world is".to_owned(), way_to(&seen, number)));
    Explored { states: seen.len(), steps, depth, ends: ends.len(), violation }
}

/// The first state from which no fair way leads to an end.
fn stuck(ends: &[usize], mut fair: Vec<(u32, u32)>, states: usize) -> Option<usize> {
    fair.sort_unstable();
    let mut reaches = vec![false; states];
    let mut open = ends.to_vec();
    ends.iter().for_each(|end| reaches[*end] = true);
    while let Some(number) = open.pop() {
        let first = fair.partition_point(|(to, _)| (*to as usize) < number);
        for (_, from) in fair[first..].iter().take_while(|(to, _)| *to as usize == number) {
            if !std::mem::replace(&mut reaches[*from as usize], true) {
                open.push(*from as usize);
            }
        }
    }
    reaches.iter().position(|reaches| !reaches)
}

fn way_to<S: Clone>(seen: &[Seen<S>], mut number: usize) -> Vec<S> {
    let mut way = Vec::new();
    while let Some(step) = &seen[number].step {
        way.push(step.clone());
        number = seen[number].from;
    }
    way.reverse();
    way
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).expect("a model of that many states does not fit the memory either")
}

/// A model of a few states that has each fault once: the explorer must see them.
mod tests {
    use super::*;

    /// Counts from 0 by one or two, up to 5; 4 is a dead end if so chosen, and a number may be forbidden.
    struct Counter {
        dead_end: bool,
        forbidden: Option<u8>,
        end: u8,
    }

    impl Model for Counter {
        type State = u8;
        type Step = &'static str;

        fn start(&self) -> u8 {
            0
        }

        fn steps(&self, state: &u8, steps: &mut Vec<Next<Self>>) {
            if self.dead_end && *state == 4 {
                return;
            }
            for (step, add) in [("one", 1), ("two", 2)] {
                if state + add <= 5 {
                    steps.push(Next { step, to: Ok(state + add), fair: true });
                }
            }
        }

        fn fault(&self, state: &u8) -> Option<String> {
            (self.forbidden == Some(*state)).then(|| format!("{state} is forbidden"))
        }

        fn is_end(&self, state: &u8) -> bool {
            *state == self.end
        }
    }

    #[test]
    fn every_state_is_explored_once() {
        let explored = explore(&Counter { dead_end: false, forbidden: None, end: 5 }, 6);
        assert_eq!((explored.states, explored.steps, explored.ends), (6, 9, 1));
        assert!(explored.violation.is_none());
    }

    #[test]
    fn a_forbidden_state_is_found_on_a_shortest_way() {
        let explored = explore(&Counter { dead_end: false, forbidden: Some(4), end: 5 }, 6);
        assert_eq!(explored.violation, Some(("4 is forbidden".to_owned(), vec!["two", "two"])));
    }

    #[test]
    fn a_state_that_cannot_reach_the_end_is_found() {
        let explored = explore(&Counter { dead_end: true, forbidden: None, end: 5 }, 6);
        let (fault, way) = explored.violation.expect("4 leads nowhere");
        assert!(fault.contains("no end"));
        assert_eq!(way, ["two", "two"]);
    }
}
