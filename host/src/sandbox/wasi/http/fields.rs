//! Header fields, within the bounds of every head: so many, of so many bytes, and none that is the host's own.

use super::{
    super::{Alive, View},
    FieldResult,
    types::{self, HeaderError},
};
use crate::capability::http::{HEAD_BYTES_MAX, HEADERS_MAX, is_forbidden};
use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_LENGTH};
use std::sync::{Arc, atomic::Ordering};
use wasmtime::component::Resource;

/// Bytes of all fields of an instance together: they lie in the host's memory, not in the guest's.
const BYTES_MAX: usize = 256 << 10;

/// Fields, whether they may still be changed or not. Cheap to clone; a copy is made when one of the clones is changed.
#[derive(Clone, Debug)]
pub struct Fields {
    map: Arc<Map>,
    immutable: bool,
}

/// The fields, and their share of what the instance holds.
#[derive(Debug)]
struct Map {
    headers: HeaderMap,
    bytes: usize,
    alive: Alive,
}

/// So many bytes of fields that came in can't be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge(pub u32);

impl Map {
    fn new(headers: HeaderMap, alive: &Alive) -> Self {
        let bytes = bytes_of(&headers);
        alive.field_bytes.fetch_add(bytes, Ordering::Relaxed);
        Self {
            headers,
            bytes,
            alive: Arc::clone(alive),
        }
    }

    fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.alive.field_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn remove(&mut self, name: &HeaderName) {
        self.headers.remove(name);
        let left = bytes_of(&self.headers);
        self.alive
            .field_bytes
            .fetch_sub(self.bytes - left, Ordering::Relaxed);
        self.bytes = left;
    }
}

impl Clone for Map {
    fn clone(&self) -> Self {
        Self::new(self.headers.clone(), &self.alive)
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        self.alive.field_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Fields {
    pub fn new(alive: &Alive) -> Self {
        Self {
            map: Arc::new(Map::new(HeaderMap::new(), alive)),
            immutable: false,
        }
    }

    /// Those of an answer, without what is the host's own.
    ///
    /// # Errors
    /// So many bytes are too much beside what the instance holds already.
    pub fn received(mut headers: HeaderMap, alive: &Alive) -> Result<Self, TooLarge> {
        let own: Vec<HeaderName> = headers
            .keys()
            .filter(|name| is_forbidden(name))
            .cloned()
            .collect();
        for name in own {
            headers.remove(name);
        }
        let bytes = bytes_of(&headers);
        if alive.field_bytes.load(Ordering::Relaxed) + bytes > BYTES_MAX {
            return Err(TooLarge(u32::try_from(bytes).unwrap_or(u32::MAX)));
        }
        Ok(Self {
            map: Arc::new(Map::new(headers, alive)),
            immutable: true,
        })
    }

    /// From now on they stay as they are.
    pub fn fix(&mut self) {
        self.immutable = true;
    }

    pub fn headers(&self) -> &HeaderMap {
        &self.map.headers
    }

    /// What they say about the length of the body. A second opinion, or anything but digits, is an error: two opinions
    /// about where a message ends are how requests are smuggled.
    pub fn content_length(&self) -> Result<Option<u64>, ()> {
        let mut values = self.headers().get_all(CONTENT_LENGTH).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        let digits = value.to_str().map_err(|_| ())?;
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if values.next().is_some() || !plain {
            return Err(());
        }
        digits.parse().map(Some).map_err(|_| ())
    }

    /// Whether so many more fields of so many bytes are too much. The interface has no word for "too large"; of those
    /// that it has, the error that this becomes is no lie.
    fn hold(&self, fields: usize, bytes: usize) -> FieldResult<()> {
        // A copy is made before it is changed.
        let copied = if Arc::strong_count(&self.map) > 1 {
            self.map.bytes
        } else {
            0
        };
        let held = self.map.alive.field_bytes.load(Ordering::Relaxed);
        if self.headers().len() + fields > HEADERS_MAX
            || self.map.bytes + bytes > HEAD_BYTES_MAX
            || held + copied + bytes > BYTES_MAX
        {
            return Err(HeaderError::Forbidden.into());
        }
        Ok(())
    }

    fn append(&mut self, name: HeaderName, value: HeaderValue) -> FieldResult<()> {
        let bytes = name.as_str().len() + value.len() + OVERHEAD;
        self.hold(1, bytes)?;
        let map = Arc::make_mut(&mut self.map);
        map.headers.append(name, value);
        map.add(bytes);
        Ok(())
    }

    fn remove(&mut self, name: &HeaderName) -> FieldResult<()> {
        if self.headers().contains_key(name) {
            self.hold(0, 0)?;
            Arc::make_mut(&mut self.map).remove(name);
        }
        Ok(())
    }

    /// The name, if it is one and may be changed.
    fn changeable(&self, name: &str) -> FieldResult<HeaderName> {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| HeaderError::InvalidSyntax)?;
        if is_forbidden(&name) {
            return Err(HeaderError::Forbidden.into());
        }
        if self.immutable {
            return Err(HeaderError::Immutable.into());
        }
        Ok(name)
    }
}

fn value_of(value: &[u8]) -> Result<HeaderValue, HeaderError> {
    HeaderValue::from_bytes(value).map_err(|_| HeaderError::InvalidSyntax)
}

/// A colon, a space and the end of the line.
const OVERHEAD: usize = 4;

fn bytes_of(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + OVERHEAD)
        .sum()
}

impl types::HostFields for View<'_> {
    fn new(&mut self) -> wasmtime::Result<Resource<Fields>> {
        Ok(self.table.push(Fields::new(self.alive))?)
    }

    fn from_list(&mut self, entries: Vec<(String, Vec<u8>)>) -> FieldResult<Resource<Fields>> {
        let mut fields = Fields::new(self.alive);
        for (name, value) in entries {
            let name = fields.changeable(&name)?;
            fields.append(name, value_of(&value)?)?;
        }
        Ok(self.table.push(fields)?)
    }

    fn get(&mut self, this: Resource<Fields>, name: String) -> wasmtime::Result<Vec<Vec<u8>>> {
        let fields = self.table.get(&this)?;
        Ok(fields
            .headers()
            .get_all(name.to_ascii_lowercase().as_str())
            .iter()
            .map(|value| value.as_bytes().to_vec())
            .collect())
    }

    fn has(&mut self, this: Resource<Fields>, name: String) -> wasmtime::Result<bool> {
        let fields = self.table.get(&this)?;
        Ok(fields.headers().contains_key(name.to_ascii_lowercase().as_str()))
    }

    fn set(&mut self, this: Resource<Fields>, name: String, values: Vec<Vec<u8>>) -> FieldResult<()> {
        let fields = self.table.get_mut(&this)?;
        let name = fields.changeable(&name)?;
        if values.len() > HEADERS_MAX {
            return Err(HeaderError::Forbidden.into());
        }
        let values = values
            .iter()
            .map(|value| value_of(value))
            .collect::<Result<Vec<_>, _>>()?;
        // Held against the bounds as a whole, so that what is too much changes nothing.
        let bytes = |value: &HeaderValue| name.as_str().len() + value.len() + OVERHEAD;
        fields.hold(values.len(), values.iter().map(bytes).sum())?;
        fields.remove(&name)?;
        for value in values {
            fields.append(name.clone(), value)?;
        }
        Ok(())
    }

    fn delete(&mut self, this: Resource<Fields>, name: String) -> FieldResult<()> {
        let fields = self.table.get_mut(&this)?;
        let name = fields.changeable(&name)?;
        fields.remove(&name)
    }

    fn append(&mut self, this: Resource<Fields>, name: String, value: Vec<u8>) -> FieldResult<()> {
        let fields = self.table.get_mut(&this)?;
        let name = fields.changeable(&name)?;
        fields.append(name, value_of(&value)?)
    }

    fn entries(&mut self, this: Resource<Fields>) -> wasmtime::Result<Vec<(String, Vec<u8>)>> {
        let fields = self.table.get(&this)?;
        Ok(fields
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
            .collect())
    }

    fn clone(&mut self, this: Resource<Fields>) -> wasmtime::Result<Resource<Fields>> {
        let fields = Fields {
            immutable: false,
            ..self.table.get(&this)?.clone()
        };
        Ok(self.table.push(fields)?)
    }

    fn drop(&mut self, this: Resource<Fields>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> HeaderName {
        HeaderName::from_bytes(text.as_bytes()).unwrap()
    }

    fn added(fields: &mut Fields, index: usize, bytes: usize) -> bool {
        let value = HeaderValue::from_bytes(&vec![b'x'; bytes]).unwrap();
        fields.append(name(&format!("x-{index}")), value).is_ok()
    }

    #[test]
    fn a_head_and_an_instance_have_bounds_and_give_back_what_they_held() {
        let alive = Alive::default();
        let mut many = Fields::new(&alive);
        assert_eq!(
            (0..200).filter(|index| added(&mut many, *index, 1)).count(),
            HEADERS_MAX
        );
        let mut long = Fields::new(&alive);
        assert_eq!((0..200).filter(|index| added(&mut long, *index, 4000)).count(), 8);
        drop((many, long));
        assert_eq!(alive.field_bytes.load(Ordering::Relaxed), 0);

        // As many as there are places in the table, and clones that are then made to differ.
        let mut all = vec![Fields::new(&alive)];
        assert!(added(&mut all[0], 0, 30_000));
        while all.len() < 256 {
            let mut more = all[0].clone();
            if !added(&mut more, 1, 1) {
                break;
            }
            all.push(more);
        }
        assert!(alive.field_bytes.load(Ordering::Relaxed) <= BYTES_MAX && all.len() < 10);
        drop(all);
        assert_eq!(
            (
                alive.field_bytes.load(Ordering::Relaxed),
                Arc::strong_count(&alive)
            ),
            (0, 1)
        );
    }

    /// Whether it grows by what comes in, or by copies that are made to take something away.
    #[test]
    fn answers_and_copies_are_held_against_the_bound_of_the_instance() {
        let alive = Alive::default();
        let held = || alive.field_bytes.load(Ordering::Relaxed);
        let mut headers = HeaderMap::new();
        headers.append("x", HeaderValue::from_bytes(&vec![b'x'; 30_000]).unwrap());
        headers.append("y", HeaderValue::from_static("y"));
        let answers: Vec<_> = (0..256)
            .map_while(|_| Fields::received(headers.clone(), &alive).ok())
            .collect();
        assert_eq!(answers.len(), 8);
        assert!(held() <= BYTES_MAX);
        assert_eq!(
            Fields::received(headers.clone(), &alive).unwrap_err(),
            TooLarge(30_011)
        );
        let before = held();
        let mut copies = vec![answers[0].clone(); 100];
        assert!(copies.iter_mut().all(|copy| copy.remove(&name("y")).is_err()));
        assert_eq!(held(), before);
        drop(copies);
        // Who has it alone makes no copy.
        let mut own = answers.into_iter().next().unwrap();
        assert!(own.remove(&name("y")).is_ok());
        assert_eq!(held(), 30_005);
        drop(own);
        assert_eq!(held(), 0);
    }

    #[test]
    fn one_opinion_about_the_length_or_none() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_LENGTH, HeaderValue::from_str(value).unwrap());
            }
            Fields::received(headers, &Alive::default())
                .unwrap()
                .content_length()
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["12"]), Ok(Some(12)));
        for values in [
            &["1", "1"][..],
            &["1, 1"],
            &["+1"],
            &["-1"],
            &[""],
            &[" "],
            &["0x1"],
            &["99999999999999999999"],
        ] {
            assert_eq!(of(values), Err(()), "{values:?}");
        }
    }
}
