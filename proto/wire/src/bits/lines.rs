//! Reading thousands of short numbers, for who is to make vectors of them.

use super::{BitReader, READY_BITS};

/// Numbers of [`BitReader::read_lines`], in the parts of which they are made.
#[derive(Clone, Copy, Debug)]
pub struct ShortParts<const LEN: usize> {
    ones: [u16; LEN],
    /// From the zero behind the ones on, and inverted.
    tails: [u16; LEN],
}

impl<const LEN: usize> ShortParts<LEN> {
    /// Zeros, whatever their parameter.
    pub const ZEROS: Self = Self {
        ones: [0; LEN],
        tails: [u16::MAX; LEN],
    };

    /// The number at `i`, whose parameter is the binary logarithm of `power`.
    #[inline(always)]
    #[must_use]
    pub fn number(&self, i: usize, power: u16) -> u16 {
        self.ones[i].wrapping_mul(power) | !self.tails[i] >> 1 & (power - 1)
    }

    /// Makes the number at `i`, whose parameter is `k`, at most 15, another one.
    pub fn set(&mut self, i: usize, number: u16, k: u32) {
        self.ones[i] = number >> k;
        self.tails[i] = !((number & ((1 << k) - 1)) << 1);
    }
}

/// Bytes that are enough to refill at once as long as there is a bit left that was there before them.
pub const PADDING: usize = 16;

impl<'a> BitReader<'a> {
    /// For each place from `place` on up to `end`, `N` numbers as [`Self::read_short`] reads them, one behind the other,
    /// with the parameters that `ks_of` makes of the place's `k`. What is read are their parts. Stops before a place
    /// that has a number beyond 16 bits, and before the last bytes; answers where. A place's numbers have at most
    /// [`READY_BITS`] bits if none is plain, and at most 120 else.
    ///
    /// For the hottest loops. Where a number ends is only known once it is read, so what counts is the number of steps
    /// from one to the next, in which there are no branches and no memory: some ten cycles for two numbers. To put the
    /// parts together can wait, and be done by vectors. The accumulator is of inverted bits here, in which ones are
    /// zeros, which can be counted at once.
    #[inline(always)]
    pub fn read_lines<const N: usize, const LEN: usize>(
        &mut self,
        ks: &[u8; LEN],
        ks_of: impl Fn(u32) -> [u32; N],
        (ones_max, plain_width): (u32, u32),
        mut place: usize,
        end: usize,
        parts: &mut [ShortParts<LEN>],
    ) -> usize {
        debug_assert!((ones_max + 1).is_power_of_two(), "so that one look tells");
        let parts: &mut [ShortParts<LEN>; N] = parts.first_chunk_mut().expect("as many lines as numbers");
        let (mut inverted, mut filled, mut bytes) = (self.inverted(), self.filled, self.bytes);
        while place < end.min(LEN)
            && let Some(word) = bytes.first_chunk()
        {
            let ready = inverted | !u64::from_le_bytes(*word) << filled;
            // Whole bytes are taken, as many as fit.
            let behind = &bytes[(((63 - filled) / 8) & 7) as usize..];
            let ready_bits = filled | READY_BITS;
            let mut rest = ready;
            let ks = ks_of(ks[place].into());
            let (mut total, mut any) = (0, 0);
            let numbers: [(u32, u64); N] = std::array::from_fn(|n| {
                let ones = rest.trailing_zeros();
                let tail = rest.wrapping_shr(ones);
                rest = tail >> (ks[n] + 1);
                total += ones + (ks[n] + 1);
                any |= ones + 1;
                (ones, tail)
            });
            // In some number there are as many as that, which is one less than a power of two.
            if any > ones_max {
                let ready = ready & ((1 << ready_bits) - 1);
                let Some((numbers, next)) = with_plain(ready, ready_bits, behind, ks, ones_max, plain_width)
                else {
                    break;
                };
                for ((parts, number), k) in parts.iter_mut().zip(numbers).zip(ks) {
                    parts.set(place, number, k);
                }
                (inverted, filled, bytes) = next;
                place += 1;
                continue;
            }
            for (parts, (ones, tail)) in parts.iter_mut().zip(numbers) {
                parts.ones[place] = ones as u16;
                parts.tails[place] = tail as u16;
            }
            (inverted, filled, bytes) = (rest, ready_bits - total, behind);
            place += 1;
        }
        self.accumulator = !inverted & ((1 << filled) - 1);
        self.filled = filled;
        self.bytes = bytes;
        place
    }

    /// The ready bits, inverted, and zeros above them.
    fn inverted(&self) -> u64 {
        !self.accumulator & ((1 << self.filled) - 1)
    }

    /// A reader of the same bits behind which there are [`PADDING`] bytes of zeros more, so that the hottest loops need
    /// no other way for the last bytes; `None` if the bits do not fit `buffer`. See [`Self::without_padding`].
    pub fn padded<'b>(&self, buffer: &'b mut [u8]) -> Option<BitReader<'b>> {
        let (bytes, padding) = buffer.split_at_mut_checked(self.bytes.len())?;
        let length = bytes.len()
            + padding
                .first_chunk_mut::<PADDING>()
                .map(|zeros| zeros.fill(0))
                .map(|()| PADDING)?;
        bytes.copy_from_slice(self.bytes);
        Some(BitReader {
            bytes: &buffer[..length],
            accumulator: self.accumulator,
            filled: self.filled,
        })
    }

    /// `original`, read as far as this reader, of which there are `padding` bytes more: `None` if it has been read
    /// farther than there are bits.
    pub fn without_padding<'b>(&self, original: &BitReader<'b>, padding: usize) -> Option<BitReader<'b>> {
        let left = self.bits_left().checked_sub(padding * 8)?;
        let mut reader = *original;
        let mut read = reader.bits_left() - left;
        if read > reader.filled as usize {
            read -= reader.filled as usize;
            reader = BitReader::new(&reader.bytes[read / 8..]);
            read %= 8;
            reader.refill();
        }
        reader.skip(read as u32);
        Some(reader)
    }
}

/// What a reader goes on with: inverted bits, how many, and the bytes behind.
type Rest<'a> = (u64, u32, &'a [u8]);

/// One place's numbers, some of which are plain, from the inverted bits that are ready; `None` if one has more than 16
/// bits, or hardly any bytes are left.
#[cold]
#[inline(never)]
fn with_plain<const N: usize>(
    inverted: u64,
    filled: u32,
    bytes: &[u8],
    ks: [u32; N],
    ones_max: u32,
    plain_width: u32,
) -> Option<([u16; N], Rest<'_>)> {
    let word = u64::from_le_bytes(*bytes.first_chunk()?);
    let mut window = u128::from(inverted) | u128::from(!word) << filled;
    let mut total = 0;
    let mut numbers = [0; N];
    for (number, k) in numbers.iter_mut().zip(ks) {
        let ones = (window as u64).trailing_zeros();
        let (before, width) = if ones < ones_max {
            (ones + 1, k)
        } else {
            (ones_max, plain_width)
        };
        let low = !((window >> before) as u32) & ((1 << width) - 1);
        let value = if ones < ones_max { ones << k | low } else { low };
        *number = u16::try_from(value).ok()?;
        window >>= before + width;
        total += before + width;
    }
    let (filled, taken) = match total.checked_sub(filled) {
        None => (filled - total, 0),
        Some(more) => (more.next_multiple_of(8) - more, more.div_ceil(8)),
    };
    let inverted = window as u64 & ((1 << filled) - 1);
    Some((numbers, (inverted, filled, &bytes[taken as usize..])))
}
