//! The types that the build makes of `protos/`.

#![expect(
    missing_docs,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    reason = "generated; the comments are in protos/"
)]

/// `event_hub.v1`.
pub mod event_hub {
    tonic::include_proto!("event_hub.v1");
}

/// `event`.
pub mod event {
    tonic::include_proto!("event");
}
