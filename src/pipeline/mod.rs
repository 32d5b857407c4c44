//! The pipeline: what turns events into files and carries the files from stage to stage.

pub mod ingest;
