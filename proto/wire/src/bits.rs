//! Numbers packed into bits and bytes by hand, for what is too frequent for bincode.
//!
//! Bits fill each byte from the lowest up. Variable-length integers are LEB128: seven bits a byte, low first.

use crate::codec::CodecError;

/// Writes bits behind what a buffer already holds. [`Self::finish`] fills the last byte with zeros.
#[derive(Debug)]
pub struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    accumulator: u64,
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
    pub fn write(&mut self, value: u32, width: u32) {
        debug_assert!(
            width == 32 || value >> width == 0,
            "{value} does not fit {width} bits"
        );
        self.accumulator |= u64::from(value) << self.filled;
        self.filled += width;
        while self.filled >= 8 {
            self.out.push(self.accumulator as u8);
            self.accumulator >>= 8;
            self.filled -= 8;
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
        if self.filled > 0 {
            self.out.push(self.accumulator as u8);
        }
    }
}

/// Reads what [`BitWriter`] wrote.
#[derive(Debug)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    accumulator: u64,
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
    #[inline]
    pub fn read(&mut self, width: u32) -> Result<u32, CodecError> {
        while self.filled < width {
            let (&byte, rest) = self
                .bytes
                .split_first()
                .ok_or(CodecError::Length("bits end early"))?;
            self.accumulator |= u64::from(byte) << self.filled;
            self.filled += 8;
            self.bytes = rest;
        }
        let value = self.accumulator & ((1 << width) - 1);
        self.accumulator >>= width;
        self.filled -= width;
        Ok(value as u32)
    }

    /// The next number in Rice coding with parameter `k`, at most 24.
    ///
    /// # Errors
    /// If the bits end early or the number does not fit 32 bits.
    #[inline]
    pub fn read_rice(&mut self, k: u32) -> Result<u32, CodecError> {
        let mut quotient = 0u32;
        while self.read(1)? == 1 {
            quotient += 1;
            if quotient > u32::MAX >> k {
                return Err(CodecError::Malformed("a Rice code beyond 32 bits"));
            }
        }
        Ok(quotient << k | self.read(k)?)
    }

    /// That nothing is left but the zeros of the last byte.
    ///
    /// # Errors
    /// If there is.
    pub fn finish(self) -> Result<(), CodecError> {
        if self.bytes.is_empty() && self.accumulator == 0 {
            Ok(())
        } else {
            Err(CodecError::Length("bits left over"))
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
