//! Numbers packed into bits and bytes by hand, for what is too frequent for bincode.
//!
//! Bits fill each byte from the lowest up. Variable-length integers are LEB128: seven bits a byte, low first.

mod lines;

pub use lines::{PADDING, ShortParts};

use crate::codec::CodecError;

/// Writes bits behind what a buffer already holds. [`Self::finish`] fills the last byte with zeros.
#[derive(Debug)]
pub struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    accumulator: u64,
    /// At most 31.
    filled: u32,
}

impl<'a> BitWriter<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            accumulator: 0,
            filled: 0,
        }
    }

    /// The lowest `width` bits of `value`; the others must be zero. `width` is at most 32.
    #[inline]
    pub fn write(&mut self, value: u32, width: u32) {
        debug_assert!(
            width == 32 || value >> width == 0,
            "{value} does not fit {width} bits"
        );
        self.accumulator |= u64::from(value) << self.filled;
        self.filled += width;
        if self.filled >= 32 {
            self.out
                .extend_from_slice(&(self.accumulator as u32).to_le_bytes());
            self.accumulator >>= 32;
            self.filled -= 32;
        }
    }

    /// `value` in Rice coding: `value >> k` ones, a zero, then the low `k` bits. `k` is at most 24.
    pub fn write_rice(&mut self, value: u32, k: u32) {
        let mut quotient = value >> k;
        while quotient >= 16 {
            self.write(0xffff, 16);
            quotient -= 16;
        }
        self.write((1 << quotient) - 1, quotient + 1);
        self.write(value & ((1 << k) - 1), k);
    }

    /// Fills up the last byte with zeros.
    pub fn finish(self) {
        let bytes = self.filled.div_ceil(8) as usize;
        self.out
            .extend_from_slice(&self.accumulator.to_le_bytes()[..bytes]);
    }
}

/// How many bits a refill makes ready at least: whole bytes, and never all 64, so that shifts stay defined.
const READY_BITS: u32 = 56;

/// Reads what [`BitWriter`] wrote, eight bytes at a time.
#[derive(Clone, Copy, Debug)]
pub struct BitReader<'a> {
    /// What has not been taken into the accumulator yet.
    bytes: &'a [u8],
    /// The next bits, the first one lowest. Above the lowest `filled` there may already stand a copy of the first
    /// bits of `bytes`, which the next refill writes once more.
    accumulator: u64,
    /// At most 63.
    filled: u32,
}

impl<'a> BitReader<'a> {
    /// Reads from the start of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            accumulator: 0,
            filled: 0,
        }
    }

    /// The next `width` bits, at most 32.
    ///
    /// # Errors
    /// If there are not as many left.
    #[inline(always)]
    pub fn read(&mut self, width: u32) -> Result<u32, CodecError> {
        self.ready(width)?;
        Ok(self.take(width))
    }

    /// Three numbers of `widths` bits, each at most 32, behind one in Rice coding with parameter `k`, at most 24.
    ///
    /// # Errors
    /// As [`Self::read`] and [`Self::read_rice`].
    #[inline(always)]
    pub fn read_rice_and_three(&mut self, k: u32, widths: [u32; 3]) -> Result<(u32, [u32; 3]), CodecError> {
        self.refill();
        let ones = self.accumulator.trailing_ones();
        let total = ones + 1 + k + widths[0] + widths[1] + widths[2];
        if total > self.filled {
            let first = self.read_rice(k)?;
            let three = [
                self.read(widths[0])?,
                self.read(widths[1])?,
                self.read(widths[2])?,
            ];
            return Ok((first, three));
        }
        // All of it is ready: at most 55 ones, so the number fits 32 bits.
        let mut rest = self.accumulator >> (ones + 1);
        let mut next = |width: u32| {
            let value = rest & ((1 << width) - 1);
            rest >>= width;
            value as u32
        };
        let first = ones << k | next(k);
        let three = [next(widths[0]), next(widths[1]), next(widths[2])];
        self.accumulator = rest;
        self.filled -= total;
        Ok((first, three))
    }

    /// The next number in Rice coding with parameter `k`, at most 24.
    ///
    /// # Errors
    /// If the bits end early or the number does not fit 32 bits.
    #[inline]
    pub fn read_rice(&mut self, k: u32) -> Result<u32, CodecError> {
        debug_assert!(k <= 24, "a Rice parameter of at most 24");
        let mut quotient = 0u32;
        loop {
            if self.filled < 32 {
                self.refill();
            }
            let ones = self.accumulator.trailing_ones().min(self.filled);
            quotient += ones;
            if quotient > u32::MAX >> k {
                return Err(CodecError::Malformed("a Rice code beyond 32 bits"));
            }
            if ones < self.filled {
                self.skip(ones + 1);
                return Ok(quotient << k | self.read(k)?);
            }
            if ones == 0 {
                return Err(CodecError::Length("bits end early"));
            }
            self.skip(ones);
        }
    }

    /// The next number in Rice coding with parameter `k`, at most 24, or, behind `ones_max` ones (at most 15), in
    /// `plain_width` bits, at most 32.
    ///
    /// # Errors
    /// If the bits end early.
    #[inline(always)]
    pub fn read_short(&mut self, k: u32, ones_max: u32, plain_width: u32) -> Result<u32, CodecError> {
        debug_assert!(
            k <= 24 && ones_max <= 15 && plain_width <= 32,
            "within what a refill makes ready"
        );
        if self.filled < ones_max + 1 + k {
            self.refill();
        }
        let ones = self.accumulator.trailing_ones();
        if ones < ones_max {
            if ones + 1 + k > self.filled {
                return Err(CodecError::Length("bits end early"));
            }
            self.skip(ones + 1);
            return Ok(ones << k | self.take(k));
        }
        self.ready(ones_max)?;
        self.skip(ones_max);
        self.read(plain_width)
    }

    /// That nothing is left but the zeros of the last byte.
    ///
    /// # Errors
    /// If there is.
    pub fn finish(self) -> Result<(), CodecError> {
        if self.bytes.is_empty() && self.filled < 8 && self.accumulator == 0 {
            Ok(())
        } else {
            Err(CodecError::Length("bits left over"))
        }
    }

    /// How many bits are left.
    #[must_use]
    pub fn bits_left(&self) -> usize {
        self.bytes.len() * 8 + self.filled as usize
    }

    /// Makes `width` bits ready, at most [`READY_BITS`].
    #[inline(always)]
    fn ready(&mut self, width: u32) -> Result<(), CodecError> {
        if self.filled < width {
            self.refill();
            if self.filled < width {
                return Err(CodecError::Length("bits end early"));
            }
        }
        Ok(())
    }

    /// The next `width` bits, at most 32, which are ready.
    #[inline(always)]
    fn take(&mut self, width: u32) -> u32 {
        debug_assert!(width <= 32, "at most 32 bits at once");
        let value = self.accumulator & ((1 << width) - 1);
        self.skip(width);
        value as u32
    }

    /// Drops `width` bits, which are ready.
    #[inline(always)]
    fn skip(&mut self, width: u32) {
        self.accumulator >>= width;
        self.filled -= width;
    }

    /// Makes at least [`READY_BITS`] ready, or all that are left.
    #[inline(always)]
    fn refill(&mut self) {
        let Some(word) = self.bytes.first_chunk() else {
            *self = Self::refilled_from_the_last_bytes(self.bytes, self.accumulator, self.filled);
            return;
        };
        self.accumulator |= u64::from_le_bytes(*word) << self.filled;
        let taken = (63 - self.filled) / 8;
        self.bytes = &self.bytes[taken as usize..];
        self.filled += taken * 8;
    }

    /// Takes and returns values rather than `&mut self`, so that the reader can live in registers.
    #[cold]
    fn refilled_from_the_last_bytes(mut bytes: &'a [u8], mut accumulator: u64, mut filled: u32) -> Self {
        while filled < READY_BITS
            && let Some((&byte, rest)) = bytes.split_first()
        {
            accumulator |= u64::from(byte) << filled;
            filled += 8;
            bytes = rest;
        }
        Self {
            bytes,
            accumulator,
            filled,
        }
    }
}

/// Appends `value` as a variable-length integer.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends `value` as a variable-length integer, small for both signs: 0, -1, 1, -2 are 0, 1, 2, 3.
pub fn put_zigzag(out: &mut Vec<u8>, value: i64) {
    put_varint(out, (value << 1 ^ value >> 63) as u64);
}

/// Takes a variable-length integer off the front of `bytes`.
///
/// # Errors
/// If the bytes end early, the number needs more than 64 bits, or is not in its shortest form.
pub fn take_varint(bytes: &mut &[u8]) -> Result<u64, CodecError> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take_byte(bytes)?;
        let low = u64::from(byte & 0x7f);
        if shift == 63 && low > 1 || byte == 0 && shift > 0 {
            return Err(CodecError::Malformed(
                "a variable-length integer that is too long",
            ));
        }
        value |= low << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(CodecError::Malformed(
        "a variable-length integer that is too long",
    ))
}

/// Takes a number written by [`put_zigzag`] off the front of `bytes`.
///
/// # Errors
/// As [`take_varint`].
pub fn take_zigzag(bytes: &mut &[u8]) -> Result<i64, CodecError> {
    let value = take_varint(bytes)?;
    Ok((value >> 1) as i64 ^ -((value & 1) as i64))
}

/// Like [`take_varint`], for a number of 32 bits.
///
/// # Errors
/// As [`take_varint`], or if it is larger.
pub fn take_varint_u32(bytes: &mut &[u8]) -> Result<u32, CodecError> {
    u32::try_from(take_varint(bytes)?).map_err(|_| CodecError::Malformed("a number beyond 32 bits"))
}

/// Like [`take_zigzag`], for a number of 32 bits.
///
/// # Errors
/// As [`take_varint`], or if it is larger.
pub fn take_zigzag_i32(bytes: &mut &[u8]) -> Result<i32, CodecError> {
    i32::try_from(take_zigzag(bytes)?).map_err(|_| CodecError::Malformed("a number beyond 32 bits"))
}

/// Takes one byte off the front of `bytes`.
///
/// # Errors
/// If there is none.
pub fn take_byte(bytes: &mut &[u8]) -> Result<u8, CodecError> {
    let (&byte, rest) = bytes.split_first().ok_or(CodecError::Length("bytes end early"))?;
    *bytes = rest;
    Ok(byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A number of 0 to 32 bits, and how many.
    fn sized() -> impl Strategy<Value = (u32, u32)> {
        (0..=32u32, any::<u32>()).prop_map(|(width, v)| {
            let mask = ((1u64 << width) - 1) as u32;
            (v & mask, width)
        })
    }

    /// Numbers small enough for their Rice parameter to write in a few hundred bits.
    fn rice() -> impl Strategy<Value = (u32, u32)> {
        (0..=24u32).prop_flat_map(|k| (0..=u32::MAX >> (24 - k), Just(k)))
    }

    /// What the reader must answer, written as simply as can be: bit `i` of the bytes, lowest first.
    fn bit(bytes: &[u8], i: usize) -> Option<u32> {
        bytes.get(i / 8).map(|byte| u32::from(byte >> (i % 8) & 1))
    }

    proptest! {
        #[test]
        fn bits_come_back_as_they_were_written(numbers in prop::collection::vec(sized(), 0..100), before in 0usize..3) {
            let mut bytes = vec![0xaa; before];
            let mut writer = BitWriter::new(&mut bytes);
            for &(value, width) in &numbers {
                writer.write(value, width);
            }
            writer.finish();
            let total: u32 = numbers.iter().map(|(_, width)| width).sum();
            prop_assert_eq!(bytes.len(), before + total.div_ceil(8) as usize);
            let mut reader = BitReader::new(&bytes[before..]);
            for (value, width) in numbers {
                prop_assert_eq!(reader.read(width), Ok(value));
            }
            prop_assert_eq!(reader.finish(), Ok(()));
        }

        #[test]
        fn rice_codes_come_back_between_other_bits(numbers in prop::collection::vec((rice(), sized()), 0..60)) {
            let mut bytes = Vec::new();
            let mut writer = BitWriter::new(&mut bytes);
            for &((value, k), (bits, width)) in &numbers {
                writer.write_rice(value, k);
                writer.write(bits, width);
            }
            writer.finish();
            let mut reader = BitReader::new(&bytes);
            for ((value, k), (bits, width)) in numbers {
                prop_assert_eq!(reader.read_rice(k), Ok(value));
                prop_assert_eq!(reader.read(width), Ok(bits));
            }
            prop_assert_eq!(reader.finish(), Ok(()));
        }

        #[test]
        fn four_numbers_at_once_are_read_as_one_by_one(
            bytes in prop::collection::vec(prop_oneof![3 => any::<u8>(), 1 => Just(0xff)], 0..60),
            k in 0..=24u32,
            widths in prop::array::uniform3(0..=32u32),
        ) {
            let (mut at_once, mut one_by_one) = (BitReader::new(&bytes), BitReader::new(&bytes));
            loop {
                let expected = one_by_one.read_rice(k).and_then(|first| {
                    let [a, b, c] = widths;
                    Ok((first, [one_by_one.read(a)?, one_by_one.read(b)?, one_by_one.read(c)?]))
                });
                let got = at_once.read_rice_and_three(k, widths);
                prop_assert_eq!(&got, &expected);
                if expected.is_err() {
                    break;
                }
            }
        }

        #[test]
        fn the_reader_agrees_with_reading_bit_by_bit(
            bytes in prop::collection::vec(any::<u8>(), 0..40),
            reads in prop::collection::vec((any::<bool>(), 0..=24u32), 0..60),
        ) {
            let mut reader = BitReader::new(&bytes);
            let mut at = 0;
            let mut plain = |width: u32| {
                (0..width).try_fold(0u32, |value, i| {
                    let bit = bit(&bytes, at)?;
                    at += 1;
                    Some(value | bit << i)
                })
            };
            for (as_rice, width) in reads {
                let (expected, read) = if as_rice {
                    let mut quotient = 0u32;
                    let expected = loop {
                        match plain(1) {
                            Some(1) => quotient += 1,
                            Some(_) => break plain(width).map(|low| quotient.checked_shl(width).unwrap_or(0) | low),
                            None => break None,
                        }
                    };
                    if quotient > u32::MAX >> width {
                        prop_assert!(reader.read_rice(width).is_err());
                        return Ok(());
                    }
                    (expected, reader.read_rice(width))
                } else {
                    (plain(width), reader.read(width))
                };
                prop_assert_eq!(read.ok(), expected);
                if expected.is_none() {
                    return Ok(());
                }
            }
            let rest_is_padding = at.div_ceil(8) == bytes.len() && (at..8 * bytes.len()).all(|i| bit(&bytes, i) == Some(0));
            prop_assert_eq!(reader.finish().is_ok(), rest_is_padding);
        }

        #[test]
        fn varints_come_back_and_take_one_byte_per_seven_bits(value: u64, shift in 0..64u32) {
            let value = value >> shift;
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            prop_assert_eq!(bytes.len() as u32, (64 - value.leading_zeros()).div_ceil(7).max(1));
            let mut rest = bytes.as_slice();
            prop_assert_eq!(take_varint(&mut rest), Ok(value));
            prop_assert!(rest.is_empty());
            for end in 0..bytes.len() {
                prop_assert!(take_varint(&mut &bytes[..end]).is_err());
            }
        }

        #[test]
        fn zigzags_come_back_and_small_ones_stay_small(value: i64, shift in 0..64u32) {
            let value = value >> shift;
            let mut bytes = Vec::new();
            put_zigzag(&mut bytes, value);
            prop_assert_eq!(take_zigzag(&mut bytes.as_slice()), Ok(value));
            prop_assert_eq!(take_zigzag_i32(&mut bytes.as_slice()).ok(), i32::try_from(value).ok());
            prop_assert_eq!(bytes.len() == 1, (-64..64).contains(&value));
        }

        #[test]
        fn every_varint_has_one_form(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            let mut rest = bytes.as_slice();
            if let Ok(value) = take_varint(&mut rest) {
                let mut again = Vec::new();
                put_varint(&mut again, value);
                prop_assert_eq!(&again[..], &bytes[..bytes.len() - rest.len()]);
            }
        }
    }

    #[test]
    fn a_varint_that_is_not_in_its_shortest_form_or_beyond_64_bits_is_refused() {
        for bytes in [
            &[0x80, 0x00][..],
            &[0xff, 0x80, 0x00],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81, 0x00],
            &[0x80; 11],
        ] {
            let result = take_varint(&mut &bytes[..]);
            assert!(
                matches!(result, Err(CodecError::Malformed(_))),
                "{bytes:02x?}: {result:?}"
            );
        }
        let largest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(take_varint(&mut &largest[..]), Ok(u64::MAX));
    }

    #[test]
    fn ones_without_end_are_refused() {
        for k in 0..=24 {
            assert!(BitReader::new(&[0xff; 1000]).read_rice(k).is_err(), "k = {k}");
        }
    }

    #[test]
    fn the_largest_rice_code_is_read_and_the_next_one_refused() {
        let mut bytes = Vec::new();
        let mut writer = BitWriter::new(&mut bytes);
        writer.write_rice(u32::MAX, 24);
        writer.finish();
        assert_eq!(BitReader::new(&bytes).read_rice(24), Ok(u32::MAX));
        // One more than 255 ones in front of 24 bits.
        let mut beyond = vec![0xff; 32];
        beyond.extend([0; 8]);
        assert!(BitReader::new(&beyond).read_rice(24).is_err());
    }
}
