//! Rejected bytes on a terminal: nothing in them reaches it as it is.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::base::log_format::clean;
use crate::pipeline::files::folder::Artifact;
use crate::pipeline::ops::dead_letters::{Raw, Rejected};

/// Characters of a line in a list.
const PREVIEW_CHARS: usize = 100;

/// The whole line in characters that are safe; bytes that are no UTF-8 as `\xff`.
pub(super) fn whole(raw: &[u8]) -> String {
    let mut text = String::with_capacity(raw.len());
    for chunk in raw.utf8_chunks() {
        let mut buffer = [0; 4];
        for c in chunk.valid().chars() {
            match c {
                // Most are; what is left is for the one place that knows what is safe.
                ' '..='~' => text.push(c),
                c => text.push_str(&clean(c.encode_utf8(&mut buffer))),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// Its first characters.
pub(super) fn preview(raw: &[u8]) -> String {
    // Four bytes a character at the most.
    let start = &raw[..raw.len().min(PREVIEW_CHARS * 4)];
    let text = whole(start);
    let mut preview: String = text.chars().take(PREVIEW_CHARS).collect();
    if start.len() < raw.len() || preview.len() < text.len() {
        preview.push('…');
    }
    preview
}

/// A rejected line for programs, with its text as the rejects file has it.
pub(super) fn json(artifact: &Artifact, line: &Rejected, is_redriven: bool) -> Value {
    let mut value = json!({
        "file": line.at.file,
        "line": line.at.line,
        "stage": line.stage,
        "shard": artifact.shard(),
        "rejected_with": artifact.file(),
        "reason": line.reason.code(),
        "detail": line.detail,
        "bytes": line.raw.len(),
        "redriven": is_redriven,
    });
    if let Raw::Whole(raw) = &line.raw {
        match std::str::from_utf8(raw) {
            Ok(text) => value["raw"] = text.into(),
            Err(_) => value["raw_base64"] = BASE64_STANDARD.encode(raw).into(),
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_moves_a_cursor_is_left() {
        let hostile = "a\u{1b}[2J\r\n\t\0\u{7f}\u{9b}31m\u{202e}x\u{2028}é".as_bytes();
        let text = whole(&[hostile, b"\xff\xfe{\"order_id\":1}"].concat());
        assert!(!text.chars().any(|c| c.is_control() || ('\u{2000}'..'\u{2070}').contains(&c)), "{text}");
        assert!(text.ends_with("é\\xff\\xfe{\"order_id\":1}"), "{text}");
        assert_eq!(preview(&[b'x'; 100]), "x".repeat(100));
        assert_eq!(preview(&[b'x'; 101]), "x".repeat(100) + "…");
        assert_eq!(preview(&[0xff; 30]).chars().count(), 101, "escaped bytes count as they are shown");
    }
}
