//! Finds the lines that hold some bytes, block by block: only lines with a hit are cut out.

use std::io::{self, Read};

use memchr::memmem::Finder;
use memchr::{memchr, memchr_iter, memrchr};

/// Bytes that are read at a time.
const BLOCK_BYTES: usize = 1024 * 1024;

/// What was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Searched {
    /// Bytes.
    pub bytes: u64,
    /// Lines that were passed over because they are longer than any block.
    pub too_long: u64,
}

/// Hands every line that holds the needle to `hit`, with its number. Lines of more than `line_max` bytes are passed over
/// where they do not fit a block.
///
/// # Errors
/// Whatever the input or `hit` fails with.
pub fn grep(
    mut input: impl Read,
    needle: &Finder<'_>,
    line_max: usize,
    hit: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<Searched> {
    let (mut searched, mut before) = (Searched::default(), 0);
    let (mut buffer, mut is_passing) = (Vec::with_capacity(2 * BLOCK_BYTES), false);
    loop {
        let read = input.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut buffer)?;
        searched.bytes += read as u64;
        if read == 0 {
            if !is_passing {
                search(&buffer, before, needle, hit)?;
            }
            return Ok(searched);
        }
        if is_passing {
            let Some(end) = memchr(b'\n', &buffer) else {
                buffer.clear();
                continue;
            };
            buffer.drain(..=end);
            is_passing = false;
            before += 1;
        }
        if let Some(end) = memrchr(b'\n', &buffer) {
            before += search(&buffer[..=end], before, needle, hit)?;
            buffer.drain(..=end);
        }
        if buffer.len() > line_max {
            searched.too_long += 1;
            is_passing = true;
            buffer.clear();
        }
    }
}

/// Searches whole lines; answers how many there were.
fn search(
    lines: &[u8],
    before: u64,
    needle: &Finder<'_>,
    hit: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<u64> {
    let (mut from, mut count) = (0, 0);
    let feeds = |part: &[u8]| memchr_iter(b'\n', part).count() as u64;
    while let Some(at) = needle.find(&lines[from..]).map(|at| from + at) {
        let start = memrchr(b'\n', &lines[from..at]).map_or(from, |feed| from + feed + 1);
        let end = memchr(b'\n', &lines[at..]).map_or(lines.len(), |feed| at + feed);
        count += feeds(&lines[from..start]);
        hit(before + count + 1, &lines[start..end])?;
        if end == lines.len() {
            return Ok(count);
        }
        count += 1;
        from = end + 1;
    }
    Ok(count + feeds(&lines[from..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hits(content: &[u8], needle: &str, line_max: usize) -> (Vec<(u64, Vec<u8>)>, Searched) {
        let mut hits = Vec::new();
        let searched = grep(content, &Finder::new(needle), line_max, &mut |number, line| {
            hits.push((number, line.to_vec()));
            Ok(())
        });
        (hits, searched.unwrap())
    }

    proptest! {
        #[test]
        fn it_finds_what_looking_at_every_line_finds(
            lines in proptest::collection::vec("[a47 ]{0,12}", 0..40),
            terminated: bool,
        ) {
            let mut content = lines.join("\n");
            if terminated {
                content.push('\n');
            }
            let expected: Vec<(u64, Vec<u8>)> = (1..)
                .zip(content.split('\n'))
                .filter(|(_, line)| line.contains("47"))
                .map(|(number, line)| (number, line.as_bytes().to_vec()))
                .collect();
            let (found, searched) = hits(content.as_bytes(), "47", 100);
            prop_assert_eq!(found, expected);
            prop_assert_eq!(searched.bytes, content.len() as u64);
        }
    }

    #[test]
    fn lines_that_cross_blocks_are_whole_and_endless_ones_are_passed_over() {
        let long = "x".repeat(BLOCK_BYTES - 3);
        let content = format!("{long}\na47b\n{long}{long}{long}47\n47c");
        let (found, searched) = hits(content.as_bytes(), "47", BLOCK_BYTES);
        assert_eq!(found, [(2, b"a47b".to_vec()), (4, b"47c".to_vec())]);
        assert_eq!(searched, Searched { bytes: content.len() as u64, too_long: 1 });
        let (found, searched) = hits(content.as_bytes(), "47", 4 * BLOCK_BYTES);
        assert_eq!((found.len(), searched.too_long), (3, 0));
    }
}
