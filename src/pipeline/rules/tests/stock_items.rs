//! Rule 5: stock.

use super::*;

fn restock(delta: i64) -> String {
    format!(r#""shop_id":1,"good_id":3,"delta_count":{delta},"reason":"x","sub_event_type":"loss""#)
}

#[test]
fn the_first_restock_begins_the_count() {
    let mut memory = Memory::new();
    memory.refuses(0, &restock(-1), Reason::NegativeStock);
    assert!(memory.stock.is_empty(), "a refused one does not begin it");
    assert_eq!(memory.effect(0, &restock(0)).stock, Some(0));
    assert_eq!(memory.stock[&(1, 3)], 0);
    memory.effect(0, &restock(5));
    memory.refuses(0, &restock(-6), Reason::NegativeStock);
    memory.effect(0, &restock(-5));
    assert_eq!(memory.stock[&(1, 3)], 0);
}

#[test]
fn a_count_over_64_bits_is_malformed() {
    let mut memory = Memory::new();
    memory.effect(0, &restock(i64::MAX));
    memory.refuses(0, &restock(1), Reason::Malformed);
    memory.effect(0, &restock(-i64::MAX));
    memory.refuses(0, &restock(i64::MIN), Reason::NegativeStock);
    assert_eq!(memory.stock[&(1, 3)], 0);
}
