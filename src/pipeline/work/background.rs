//! Calls a service on a thread of its own, one call after another, while the worker goes on deciding.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, Scope};

use crate::pipeline::claim::fault::Fault;

/// Answers questions in their order, on a thread of its own.
pub(super) struct BackgroundCaller<Q, A> {
    questions: Sender<Q>,
    answers: Receiver<Result<A, Fault>>,
    open: usize,
}

impl<Q: Send, A: Send> BackgroundCaller<Q, A> {
    /// Starts the thread. It ends with the first fault, or when this value is dropped; the scope waits for the call
    /// that it is in.
    ///
    /// # Errors
    /// [`Fault::Unavailable`] when the system has no thread to give.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        name: &str,
        mut answer: impl FnMut(Q) -> Result<A, Fault> + Send + 'scope,
    ) -> Result<Self, Fault>
    where
        Q: 'scope,
        A: 'scope,
    {
        let (questions, asked) = channel();
        let (reply, answers) = channel();
        let work = move || {
            for question in asked {
                // Here, so that its text is heard, and the worker cleans up as after any other fault.
                let answer = catch_unwind(AssertUnwindSafe(|| answer(question)))
                    .unwrap_or_else(|panic| Err(Fault::panicked(&*panic)));
                let is_over = answer.is_err();
                if reply.send(answer).is_err() || is_over {
                    return;
                }
            }
        };
        Builder::new()
            .name(name.to_owned())
            .spawn_scoped(scope, work)
            .map_err(|e| Fault::Unavailable(format!("no thread for calls aside: {e}")))?;
        Ok(Self { questions, answers, open: 0 })
    }

    /// Asks, and does not wait. If the thread has ended, an earlier answer says why.
    pub(super) fn ask(&mut self, question: Q) {
        self.open += 1;
        drop(self.questions.send(question));
    }

    /// How many questions have no answer yet.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// Waits for the answer to the oldest open question.
    ///
    /// # Errors
    /// The fault of this call, or of one before it.
    pub(super) fn next_answer(&mut self) -> Result<A, Fault> {
        self.open = self.open.saturating_sub(1);
        self.answers.recv().unwrap_or_else(|_| Err(Fault::Retryable("a call aside ended abnormally".to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn answers_come_in_the_order_of_the_questions_and_end_with_the_first_fault() {
        let mut calls = 0;
        std::thread::scope(|scope| {
            let double = |number: u32| {
                calls += 1;
                if number == 3 { Err(Fault::Unavailable("away".to_owned())) } else { Ok(number * 2) }
            };
            let mut aside = BackgroundCaller::start(scope, "double", double).unwrap();
            (1..=5).for_each(|number| aside.ask(number));
            assert_eq!((aside.next_answer().unwrap(), aside.next_answer().unwrap(), aside.open()), (2, 4, 3));
            assert!(matches!(aside.next_answer(), Err(Fault::Unavailable(_))));
            assert!(matches!(aside.next_answer(), Err(Fault::Retryable(_))), "the thread has ended");
        });
        assert_eq!(calls, 3);
    }

    #[test]
    fn a_panic_is_a_failed_attempt_with_its_text() {
        std::thread::scope(|scope| {
            let answer = |number: u32| if number > 0 { Ok(number) } else { panic!("no {number}") };
            let mut aside = BackgroundCaller::start(scope, "panic", answer).unwrap();
            aside.ask(0);
            let fault = aside.next_answer().unwrap_err();
            assert!(matches!(&fault, Fault::Retryable(why) if why.contains("no 0")), "{fault}");
        });
    }

    #[test]
    fn what_is_not_waited_for_is_not_asked() {
        let calls = AtomicU32::new(0);
        let (gone, is_gone) = channel::<()>();
        std::thread::scope(|scope| {
            let calls = &calls;
            let answer = move |(): ()| {
                calls.fetch_add(1, Ordering::Relaxed);
                assert!(is_gone.recv().is_err());
                Ok(())
            };
            let mut aside = BackgroundCaller::start(scope, "late", answer).unwrap();
            (0..3).for_each(|_| aside.ask(()));
            drop(aside);
            drop(gone);
        });
        assert!(calls.into_inner() <= 1);
    }
}
