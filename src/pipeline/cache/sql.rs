//! Statements of both dialects. An early return is handed out by one conditional UPDATE, so that it is either released
//! or expired, and only once.

/// Marks a return as a task's own.
pub(crate) const CLAIM_RETURN: &str = "UPDATE pending_return
     SET taken_file = :by_file, taken_shard = :by_shard, taken_as = :kind, taken_at = {now}
     WHERE filename = :filename AND line = :line AND taken_file IS NULL";

/// Marks what a task took as done.
pub(crate) const CONFIRM: &str = "UPDATE pending_return SET done_at = {now}
     WHERE taken_file = :by_file AND taken_shard = :by_shard AND done_at IS NULL";

/// Writes an order over the row of one that is only awaited.
pub(crate) const RECORD_AWAITED: &str = "UPDATE order_directory
     SET shop_id = :shop_id, shard = :shard, state = :state, filename = :filename, recorded_at = {now}
     WHERE order_id = :order_id AND state = 'awaited'";
