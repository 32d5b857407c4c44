//! Cuts bytes into lines with a written limit, so that one endless line cannot take all memory.

use std::io::{self, BufRead, Write};

/// Reads lines of at most `max` bytes; longer ones are announced and can be streamed.
pub struct LineReader<R> {
    input: R,
    max: usize,
    number: u64,
    buffer: Vec<u8>,
    /// The present line was too long and its rest has not been read.
    unread: bool,
}

/// What stood next in the input.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// A line within the limit.
    Line {
        /// The line's number, from 1.
        number: u64,
        /// Its bytes without the line feed.
        bytes: &'a [u8],
        /// Whether a line feed followed; only the last line of an input can lack it.
        terminated: bool,
    },
    /// A line over the limit; [`LineReader::rest_of_line`] streams it whole.
    TooLong {
        /// The line's number, from 1.
        number: u64,
    },
}

impl<R: BufRead> LineReader<R> {
    /// A reader of lines with at most `max` bytes each, the line feed not counted.
    pub fn new(input: R, max: usize) -> Self {
        Self { input, max, number: 0, buffer: Vec::new(), unread: false }
    }

    /// The next line, or `None` at the end of the input.
    ///
    /// # Errors
    /// Whatever the input fails with.
    pub fn next_line(&mut self) -> io::Result<Option<Next<'_>>> {
        if self.unread {
            self.rest_of_line(&mut io::sink())?;
        }
        self.buffer.clear();
        let mut started = false;
        loop {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                return Ok(started.then(|| self.line(false)));
            }
            if !started {
                started = true;
                self.number += 1;
            }
            let end = memchr::memchr(b'\n', chunk);
            let taken = end.unwrap_or(chunk.len());
            if self.buffer.len() + taken > self.max {
                self.unread = true;
                return Ok(Some(Next::TooLong { number: self.number }));
            }
            self.buffer.extend_from_slice(&chunk[..taken]);
            self.input.consume(taken + usize::from(end.is_some()));
            if end.is_some() {
                return Ok(Some(self.line(true)));
            }
        }
    }

    /// Streams the line that was just announced as too long, its first part included, without its line feed.
    /// Answers whether a line feed followed.
    ///
    /// # Errors
    /// Whatever the input or the sink fails with.
    pub fn rest_of_line(&mut self, sink: &mut dyn Write) -> io::Result<bool> {
        if !self.unread {
            return Ok(true);
        }
        sink.write_all(&self.buffer)?;
        loop {
            let chunk = self.input.fill_buf()?;
            let end = memchr::memchr(b'\n', chunk);
            let taken = end.unwrap_or(chunk.len());
            sink.write_all(&chunk[..taken])?;
            let at_end = chunk.is_empty();
            self.input.consume(taken + usize::from(end.is_some()));
            if end.is_some() || at_end {
                self.unread = false;
                return Ok(end.is_some());
            }
        }
    }

    /// How many lines have been read so far.
    pub fn lines(&self) -> u64 {
        self.number
    }

    /// The most bytes of a line.
    pub fn max(&self) -> usize {
        self.max
    }

    /// Gives the input back.
    pub fn into_inner(self) -> R {
        self.input
    }

    fn line(&self, terminated: bool) -> Next<'_> {
        Next::Line { number: self.number, bytes: &self.buffer, terminated }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_at_the_limit_passes_and_one_over_it_is_streamed() {
        let mut reader = LineReader::new(BufReader::with_capacity(3, &b"12345\n123456\nok"[..]), 5);
        assert_eq!(reader.next_line().unwrap(), Some(Next::Line { number: 1, bytes: b"12345", terminated: true }));
        assert_eq!(reader.next_line().unwrap(), Some(Next::TooLong { number: 2 }));
        let mut whole = Vec::new();
        assert!(reader.rest_of_line(&mut whole).unwrap());
        assert_eq!(whole, b"123456");
        assert_eq!(reader.next_line().unwrap(), Some(Next::Line { number: 3, bytes: b"ok", terminated: false }));
        assert_eq!(reader.next_line().unwrap(), None);
    }

    #[test]
    fn a_long_line_that_is_not_asked_for_is_passed_over() {
        let mut reader = LineReader::new(&b"123456789\nnext\n"[..], 4);
        assert_eq!(reader.next_line().unwrap(), Some(Next::TooLong { number: 1 }));
        assert_eq!(reader.next_line().unwrap(), Some(Next::Line { number: 2, bytes: b"next", terminated: true }));
    }

    proptest! {
        #[test]
        fn lines_put_together_again_are_the_input(
            input in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..300),
            capacity in 1_usize..16,
            max in 0_usize..20,
        ) {
            let mut reader = LineReader::new(BufReader::with_capacity(capacity, &input[..]), max);
            let mut output = Vec::new();
            let mut count = 0;
            loop {
                count += 1;
                let terminated = match reader.next_line().unwrap() {
                    None => break,
                    Some(Next::Line { number, bytes, terminated }) => {
                        prop_assert_eq!(number, count);
                        prop_assert!(bytes.len() <= max);
                        output.extend_from_slice(bytes);
                        terminated
                    }
                    Some(Next::TooLong { number }) => {
                        prop_assert_eq!(number, count);
                        let before = output.len();
                        let terminated = reader.rest_of_line(&mut output).unwrap();
                        prop_assert!(output.len() - before > max);
                        terminated
                    }
                };
                if terminated {
                    output.push(b'\n');
                }
            }
            prop_assert_eq!(output, input);
        }
    }
}
