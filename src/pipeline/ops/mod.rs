//! What people ask of the pipeline: does everything add up ([`audit`]), what is wrong around it ([`doctor`]), how are the
//! roles ([`probe`]), what became of an event ([`trace`]), rejected lines ([`dead_letters`]), copies of everything ([`backup`]).

pub mod audit;
pub mod backup;
pub mod dead_letters;
pub mod doctor;
pub mod probe;
pub mod rebuild;
pub mod trace;
pub mod tracking;
