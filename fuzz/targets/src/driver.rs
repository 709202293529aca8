//! Runs a target over a corpus and over mutants of it. The same corpus, count and seed are the same inputs on every
//! machine, so that what was found once is found again.

use crate::Target;
use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

/// Of a mutant.
const BYTES_MAX: usize = 64 << 10;

/// An input that a target does not bear.
#[derive(Debug)]
pub struct Broken {
    /// Which input it was, counted from the first seed.
    pub number: u64,
    /// The input.
    pub input: Vec<u8>,
    /// What the panic said.
    pub message: String,
}

/// The seeds of a target, by the order of their names.
///
/// # Errors
/// When they can't be read.
pub fn corpus(root: &Path, name: &str) -> std::io::Result<Vec<Vec<u8>>> {
    let folder = root.join("fuzz/corpus").join(name);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    paths.into_iter().map(fs::read).collect()
}

/// Runs a target over the seeds and that many mutants.
///
/// # Errors
/// The first input that breaks it.
pub fn run((_, target): Target, seeds: &[Vec<u8>], runs: u64, seed: u64) -> Result<(), Broken> {
    let mut random = Random(seed);
    let mut number = 0;
    let mut check = |input: &[u8]| {
        number += 1;
        catch_unwind(AssertUnwindSafe(|| target(input))).map_err(|panic| Broken {
            number,
            input: input.to_vec(),
            message: said(&*panic),
        })
    };
    for seed in seeds {
        check(seed)?;
    }
    for _ in 0..runs {
        check(&mutant(seeds, &mut random))?;
    }
    Ok(())
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(text), _) => text.clone(),
        (None, Some(text)) => (*text).to_owned(),
        (None, None) => "a panic without words".to_owned(),
    }
}

/// `splitmix64`, by Sebastiano Vigna: the same numbers for the same seed, everywhere.
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than that; 0 where that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.number())
            .unwrap_or(usize::MAX)
            .checked_rem(bound)
            .unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        self.number().to_be_bytes()[0]
    }

    fn pick<'a>(&mut self, seeds: &'a [Vec<u8>]) -> &'a [u8] {
        let at = self.below(seeds.len());
        seeds.get(at).map(Vec::as_slice).unwrap_or_default()
    }

    /// A piece of it, shorter than that.
    fn piece<'a>(&mut self, bytes: &'a [u8], most: usize) -> &'a [u8] {
        let from = self.below(bytes.len());
        let length = self.below(most.min(bytes.len().saturating_sub(from)) + 1);
        bytes.get(from..from + length).unwrap_or_default()
    }
}

/// Bytes that mean something to some reader.
const TELLING: &[&[u8]] = &[
    b"\"",
    b"'",
    b"\\",
    b"\n",
    b"\r\n",
    b"\0",
    b"[",
    b"]",
    b"{",
    b"}",
    b"=",
    b".",
    b"..",
    b"/",
    b"*",
    b"@",
    b":",
    b"#",
    b"-1",
    b"0",
    b"9223372036854775807",
    b"9223372036854775808",
    b"1e309",
    b"nan",
    b"null",
    b"true",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xae",
    b"\x1b[31m",
    b"\"\"\"",
    b"[[",
    b"$ref",
    b"#/",
    b"${env:HOME}",
    b"{{a}}",
    b"xn--",
    b"%2e",
    b"0x7f.1",
    b"[::ffff:127.0.0.1]",
    b"\xff\xff\xff\xff\x0f",
    b"\0asm\x01\0\0\0",
];

fn mutant(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = random.pick(seeds).to_vec();
    for _ in 0..=random.below(5) {
        let at = random.below(bytes.len() + 1);
        match random.below(10) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.byte()),
            2 if at < bytes.len() => {
                bytes.remove(at);
            }
            3 => {
                let piece = random.piece(&bytes, 64).to_vec();
                bytes.splice(at..at, piece);
            }
            4 => {
                // The rest is another's.
                let other = random.pick(seeds);
                let rest = random.piece(other, other.len()).to_vec();
                bytes.truncate(at);
                bytes.extend(rest);
            }
            5 | 6 => {
                let word = TELLING
                    .get(random.below(TELLING.len()))
                    .copied()
                    .unwrap_or_default();
                let end = (at + random.below(word.len() + 1)).min(bytes.len());
                bytes.splice(at..end, word.iter().copied());
            }
            7 => {
                let piece = random.piece(&bytes, 16).to_vec();
                let times = random.below(64);
                bytes.splice(at..at, piece.repeat(times));
            }
            _ => {
                let bit = 1 << random.below(8);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= bit;
                }
            }
        }
    }
    bytes.truncate(BYTES_MAX);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_is_the_same_inputs_and_they_differ() {
        let seeds = vec![b"one two three".to_vec(), b"[table]\nkey = 1\n".to_vec()];
        let breed = |seed| -> Vec<Vec<u8>> {
            let mut random = Random(seed);
            (0..200).map(|_| mutant(&seeds, &mut random)).collect()
        };
        assert_eq!(breed(1), breed(1));
        assert_ne!(breed(1), breed(2));
        let different: std::collections::BTreeSet<Vec<u8>> = breed(1).into_iter().collect();
        assert!(different.len() > 150, "{}", different.len());
    }

    #[test]
    fn an_input_that_breaks_is_told() {
        fn brittle(data: &[u8]) {
            assert!(!data.contains(&b'!'), "no shouting");
        }
        let seeds = vec![b"quiet".to_vec(), b"loud!".to_vec()];
        let broken = run(("brittle", brittle), &seeds, 0, 0).unwrap_err();
        assert_eq!((broken.number, broken.input.as_slice()), (2, &b"loud!"[..]));
        assert!(broken.message.contains("no shouting"));
        assert!(run(("brittle", brittle), &seeds[..1], 0, 0).is_ok());
    }
}
