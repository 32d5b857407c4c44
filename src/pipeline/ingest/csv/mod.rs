//! Reads tables (CSV) as event lines. A map file says what the rows become.
//!
//! `input` opens what is imported, `map` reads the map, `events` turns row after row into lines, and `trial` is the dry
//! run. The parts that they use:
//! - `section` reads TOML and notes all faults; `form` says how the table is written;
//! - `rows` reads the table through `bounded`; `rule` decides what a row becomes;
//! - `source` says where a field comes from; `time` and `number` read cells; `hash` makes ids of texts;
//! - `latest` remembers purchases for returns; `line` writes the event; `tally` counts.

mod bounded;
mod column;
mod events;
mod field;
mod form;
mod hash;
mod input;
mod latest;
mod line;
mod map;
mod number;
mod rows;
mod rule;
mod section;
mod source;
mod tally;
mod time;
mod trial;

#[cfg(test)]
mod tests;

pub use events::{Events, TableError};
pub use input::{Bytes, EventLines, InputError, Opened, open};
pub use map::{EXAMPLE, Map, MapError};
pub use tally::CsvTally;
pub use trial::{Trial, run as try_out};
