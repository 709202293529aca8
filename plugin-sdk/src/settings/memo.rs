//! Settings that were read before. Most instances serve one job; one that an operator lets serve many reads each
//! monitor's settings once.
//!
//! Invariant: what is kept is bounded, and is found only by the very text that it was read from.

use serde::de::DeserializeOwned;
use std::{any::Any, cell::RefCell, collections::VecDeque, rc::Rc};

/// An instance serves the monitors of one tenant, mostly a few over and over.
const KEPT_MAX: usize = 16;

thread_local! {
    static KEPT: RefCell<VecDeque<(String, Rc<dyn Any>)>> = RefCell::default();
}

/// Reads settings, unless the same text was read before. What is wrong with settings is not kept.
pub fn parse_once<S: DeserializeOwned + 'static>(json: &str) -> Result<Rc<S>, String> {
    let kept = KEPT.with_borrow(|kept| {
        let found = kept.iter().filter(|(text, _)| text == json);
        // In one component there is one type; a test binary may have several.
        found
            .filter_map(|(_, settings)| Rc::clone(settings).downcast::<S>().ok())
            .next()
    });
    if let Some(settings) = kept {
        return Ok(settings);
    }
    let settings = Rc::new(super::parse::<S>(json)?);
    KEPT.with_borrow_mut(|kept| {
        if kept.len() == KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back((json.to_owned(), Rc::clone(&settings) as Rc<dyn Any>));
    });
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    struct One {
        number: u32,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Other {
        number: f64,
    }

    fn text(number: usize) -> String {
        format!("{{\"number\": {number}}}")
    }

    #[test]
    fn the_same_text_is_read_once() {
        let first = parse_once::<One>(&text(1)).unwrap();
        assert!(Rc::ptr_eq(&first, &parse_once(&text(1)).unwrap()));
        assert!(!Rc::ptr_eq(&first, &parse_once("{\"number\":1}").unwrap()));
        assert_eq!(parse_once::<One>(&text(2)).unwrap().number, 2);
    }

    #[test]
    fn another_type_is_read_from_the_same_text() {
        assert_eq!(parse_once::<One>(&text(3)).unwrap().number, 3);
        assert_eq!(*parse_once::<Other>(&text(3)).unwrap(), Other { number: 3.0 });
    }

    #[test]
    fn the_oldest_make_room() {
        let first = parse_once::<One>(&text(100)).unwrap();
        for number in 101..100 + KEPT_MAX {
            parse_once::<One>(&text(number)).unwrap();
        }
        assert!(Rc::ptr_eq(&first, &parse_once(&text(100)).unwrap()));
        parse_once::<One>(&text(999)).unwrap();
        assert!(!Rc::ptr_eq(&first, &parse_once(&text(100)).unwrap()));
        assert_eq!(KEPT.with_borrow(VecDeque::len), KEPT_MAX);
    }

    #[test]
    fn what_is_wrong_stays_wrong() {
        for _ in 0..2 {
            assert!(parse_once::<One>("{}").unwrap_err().contains("missing field"));
        }
    }
}
