//! What a worker remembers: keys, byte for byte, as durable as its transaction.

use shopctl::store::Remembered;

use super::*;

const PRINT: [u8; 16] = [1; 16];
const OTHER_PRINT: [u8; 16] = [2; 16];
const TODAY: i64 = 20_000;

fn remember(state: &mut dyn WorkerState, key: &[u8], number: u32, line: u64) -> Remembered {
    state.remember(key, &file(number), line, &PRINT, TODAY).unwrap()
}

#[test]
fn a_key_is_new_once() {
    let mut state = Sqlite::fresh_state();
    state.1.begin().unwrap();
    assert_eq!(remember(&mut *state.1, b"a", 1, 1), Remembered::New);
    assert_eq!(remember(&mut *state.1, b"a", 1, 1), Remembered::Here);
    assert_eq!(remember(&mut *state.1, b"a", 1, 2), Remembered::Elsewhere { file: file(1), line: 1 });
    assert_eq!(remember(&mut *state.1, b"a", 2, 1), Remembered::Elsewhere { file: file(1), line: 1 });
    let other = state.1.remember(b"a", &file(2), 1, &OTHER_PRINT, TODAY).unwrap();
    assert_eq!(other, Remembered::OtherContent { file: file(1), line: 1 });
    let here = state.1.remember(b"a", &file(1), 1, &OTHER_PRINT, TODAY).unwrap();
    assert_eq!(here, Remembered::Here, "our own line again is our own, whatever it says");
    state.1.commit().unwrap();
}

#[test]
fn a_rollback_forgets_and_a_commit_keeps() {
    let (sqlite, mut state) = Sqlite::fresh_state();
    state.roll_back().unwrap();
    state.begin().unwrap();
    assert_eq!(remember(&mut *state, b"kept", 1, 1), Remembered::New);
    state.commit().unwrap();
    state.begin().unwrap();
    assert_eq!(remember(&mut *state, b"dropped", 1, 2), Remembered::New);
    state.roll_back().unwrap();
    state.roll_back().unwrap();
    state.begin().unwrap();
    assert_eq!(remember(&mut *state, b"unfinished", 1, 3), Remembered::New);
    drop(state);
    let mut state = sqlite.worker();
    state.begin().unwrap();
    assert_eq!(remember(&mut *state, b"kept", 1, 1), Remembered::Here);
    assert_eq!(remember(&mut *state, b"dropped", 1, 2), Remembered::New);
    assert_eq!(remember(&mut *state, b"unfinished", 1, 3), Remembered::New, "a crash forgets what was not committed");
    state.roll_back().unwrap();
}

#[test]
fn keys_compare_byte_for_byte() {
    let (_sqlite, mut state) = Sqlite::fresh_state();
    let keys: [&[u8]; 9] = [
        b"evt-a",
        b"EVT-A",
        b"evt-a ",
        b"",
        b"\0",
        b"\0\0",
        "evt-\u{e4}".as_bytes(),
        "evt-a\u{308}".as_bytes(),
        b"\xff",
    ];
    state.begin().unwrap();
    for (line, key) in (1..).zip(keys) {
        assert_eq!(remember(&mut *state, key, 1, line), Remembered::New, "{key:?}");
    }
    state.commit().unwrap();
    state.begin().unwrap();
    for (line, key) in (1..).zip(keys) {
        assert_eq!(remember(&mut *state, key, 1, line), Remembered::Here, "{key:?}");
    }
    state.commit().unwrap();
}

#[test]
fn old_keys_are_forgotten_by_day() {
    let (_sqlite, mut state) = Sqlite::fresh_state();
    state.begin().unwrap();
    for (key, day) in [(b"a", TODAY - 2), (b"b", TODAY - 1), (b"c", TODAY)] {
        state.remember(key, &file(1), 1, &PRINT, day).unwrap();
    }
    state.commit().unwrap();
    assert_eq!(state.forget_before(TODAY - 2).unwrap(), 0);
    assert_eq!(state.forget_before(TODAY).unwrap(), 2);
    assert_eq!(state.forget_before(TODAY).unwrap(), 0);
    state.begin().unwrap();
    assert_eq!(remember(&mut *state, b"b", 2, 1), Remembered::New);
    assert_eq!(remember(&mut *state, b"c", 2, 1), Remembered::Elsewhere { file: file(1), line: 1 });
    state.roll_back().unwrap();
}

impl Sqlite {
    fn fresh_state() -> (Self, Box<dyn WorkerState>) {
        let sqlite = Self::fresh();
        let state = sqlite.worker();
        (sqlite, state)
    }
}
