//! Follows an order through the files between the stages (docs/semantics.md, 6). The caller asks the databases.
//!
//! [`grep`] finds lines as fast as a disk gives them, [`naming`] says what a line says of an order, [`order`] gathers
//! what files, rejects and redrives say of each line, [`services`] asks for money and waiting returns, [`verdict`] says
//! what became of a line.

mod databases;
pub mod file_report;
pub mod grep;
pub mod naming;
pub mod order;
pub mod order_report;
pub mod services;
pub mod text;
pub mod verdict;
