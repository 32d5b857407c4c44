//! How far the frames of an HTTP/2 peer have come: whether one has begun that is not whole yet.
//!
//! The library hands out whole frames only, so a peer that sends half of one would be waited for. A head may be spread
//! over several frames; nothing else may come between them, so they count as one.

/// Bytes before the payload of a frame: length, kind, flags, stream.
const HEAD_BYTES: usize = 9;
const HEADERS: u8 = 1;
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;
/// The flag of the last frame of a head.
const END_HEADERS: u8 = 4;

/// The frames that a peer sends, as far as they have come.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The first bytes of the present frame.
    head: [u8; HEAD_BYTES],
    /// How many of them have come.
    known: usize,
    /// Bytes of its payload that are still to come.
    left: usize,
    /// Whether the frames of a request's head, or of trailers, have begun and are not complete.
    is_in_head: bool,
}

impl Frames {
    /// Notes that these bytes have come. Says whether something was completed by them.
    pub(super) fn arrived(&mut self, mut bytes: &[u8]) -> bool {
        let mut is_completed = false;
        while !bytes.is_empty() {
            if self.known < HEAD_BYTES {
                let (more, rest) = bytes.split_at(bytes.len().min(HEAD_BYTES - self.known));
                self.head[self.known..][..more.len()].copy_from_slice(more);
                self.known += more.len();
                bytes = rest;
                if self.known < HEAD_BYTES {
                    break;
                }
                let [high, middle, low, ..] = self.head;
                self.left = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
            }
            let payload = self.left.min(bytes.len());
            self.left -= payload;
            bytes = &bytes[payload..];
            if self.left == 0 {
                self.known = 0;
                let [_, _, _, kind, flags, ..] = self.head;
                if matches!(kind, HEADERS | PUSH_PROMISE | CONTINUATION) {
                    self.is_in_head = flags & END_HEADERS == 0;
                }
                is_completed |= !self.is_in_head;
            }
        }
        is_completed
    }

    /// Whether nothing has begun that is not whole.
    pub(super) fn is_whole(&self) -> bool {
        self.known == 0 && !self.is_in_head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: u8 = 0;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0, 0, u8::try_from(payload.len()).unwrap(), kind, flags, 0, 0, 0, 1];
        frame.extend_from_slice(payload);
        frame
    }

    #[test]
    fn a_frame_is_whole_with_its_last_byte_however_it_is_cut() {
        let all = [frame(DATA, 0, b"four"), frame(HEADERS, END_HEADERS, b""), frame(DATA, 0, b"x")].concat();
        for piece in 1..=all.len() {
            let mut frames = Frames::default();
            let (last, most) = all.split_last().unwrap();
            for bytes in most.chunks(piece) {
                frames.arrived(bytes);
            }
            assert!(!frames.is_whole());
            assert!(frames.arrived(&[*last]) && frames.is_whole(), "in pieces of {piece}");
        }
    }

    #[test]
    fn a_head_is_whole_with_its_last_frame() {
        let mut frames = Frames::default();
        assert!(!frames.arrived(&frame(HEADERS, 0, b"some")) && !frames.is_whole());
        assert!(!frames.arrived(&frame(CONTINUATION, 0, b"more")) && !frames.is_whole());
        assert!(frames.arrived(&frame(CONTINUATION, END_HEADERS, b"")) && frames.is_whole());
    }

    #[test]
    fn what_begins_after_something_complete_is_new() {
        let mut frames = Frames::default();
        let bytes = [frame(DATA, 0, b"x"), frame(DATA, 0, b"y")].concat();
        assert!(frames.arrived(&bytes[..bytes.len() - 1]) && !frames.is_whole());
    }
}
