//! The fields of a payload: which fields each event has, and how each field is written (docs/contracts.md, 1).

use crate::pipeline::event::Kind;

/// How a value is written in the event line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A whole number.
    Integer,
    /// A number with decimals.
    Money,
    /// `true` or `false`.
    Flag,
    /// A text.
    Text,
}

/// A field of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) form: Form,
    pub(super) required: bool,
}

const fn needs(name: &'static str, form: Form) -> Field {
    Field { name, form, required: true }
}

const fn may(name: &'static str, form: Form) -> Field {
    Field { name, form, required: false }
}

/// The kinds by the names that a map gives them.
pub(super) const KINDS: [(&str, Kind); 5] = [
    ("restock", Kind::Restock),
    ("purchase", Kind::Purchase),
    ("price_change", Kind::PriceChange),
    ("return", Kind::Return),
    ("shop_status", Kind::ShopStatus),
];

/// Every name that a field can have.
pub(super) const NAMES: [&str; 14] = [
    "order_id",
    "user_id",
    "shop_id",
    "good_id",
    "qty",
    "price_at_order",
    "refund_amount",
    "delta_count",
    "reason",
    "sub_event_type",
    "new_price",
    "old_price",
    "active",
    "idempotency_key",
];

/// How the field of this name is written, in whatever event.
pub(super) fn form_of(name: &str) -> Form {
    let fields = Kind::ALL.into_iter().flat_map(fields_of);
    fields.into_iter().find(|field| field.name == name).map_or(Form::Text, |field| field.form)
}

/// The fields of an event of this kind.
pub(super) fn fields_of(kind: Kind) -> &'static [Field] {
    use Form::{Flag, Integer, Money, Text};
    const KEY: Field = may("idempotency_key", Text);
    const SHOP: Field = needs("shop_id", Integer);
    const GOOD: Field = needs("good_id", Integer);
    match kind {
        Kind::Restock => {
            const { &[SHOP, GOOD, needs("delta_count", Integer), needs("reason", Text), needs("sub_event_type", Text), KEY] }
        }
        Kind::Purchase => {
            const {
                &[
                    needs("order_id", Integer),
                    may("user_id", Integer),
                    SHOP,
                    GOOD,
                    needs("qty", Integer),
                    may("price_at_order", Money),
                    KEY,
                ]
            }
        }
        Kind::PriceChange => const { &[SHOP, GOOD, needs("new_price", Money), may("old_price", Money), KEY] },
        Kind::Return => {
            const {
                &[
                    needs("order_id", Integer),
                    may("user_id", Integer),
                    may("shop_id", Integer),
                    GOOD,
                    needs("qty", Integer),
                    may("refund_amount", Money),
                    KEY,
                ]
            }
        }
        Kind::ShopStatus => const { &[SHOP, needs("active", Flag), KEY] },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_a_name_that_a_map_can_use() {
        for kind in Kind::ALL {
            for field in fields_of(kind) {
                assert!(NAMES.contains(&field.name), "{}", field.name);
                assert_eq!(form_of(field.name), field.form, "{}", field.name);
            }
        }
        assert_eq!(KINDS.map(|(_, kind)| kind), Kind::ALL);
    }
}
