//! Words of 32 and 64 bits: a row of a tile, a set of slots, a set of blocks.

/// The numbers of the bits set in `word`, ascending.
#[inline]
pub(crate) fn bits(word: u64) -> impl Iterator<Item = u32> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let bit = rest.trailing_zeros();
        (rest != 0).then(|| rest &= rest - 1).map(|()| bit)
    })
}

/// Turns rows into columns: bit `c` of word `r` becomes bit `r` of word `c`.
#[inline]
pub(crate) fn transpose(words: &mut [u32; 32]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the feature was just found.
        return unsafe { transpose_avx2(words) };
    }
    transpose_portable(words);
}

/// Gathers each of the four bytes of all rows into a vector and takes their upper bits, eight times, as words.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn transpose_avx2(words: &mut [u32; 32]) {
    use std::arch::x86_64::*;
    // In each half: the first bytes of four rows, then the second ones, and so on.
    let bytes_together = _mm256_setr_epi8(
        0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7,
        11, 15,
    );
    let halves_in_turn = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    let eight_rows = |quarter: usize| {
        // SAFETY: eight of 32 words are read.
        let rows = unsafe { _mm256_loadu_si256(words.as_ptr().add(8 * quarter).cast()) };
        _mm256_shuffle_epi8(rows, bytes_together)
    };
    let (a, b, c, d) = (eight_rows(0), eight_rows(1), eight_rows(2), eight_rows(3));
    let (ab_low, ab_high) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    let (cd_low, cd_high) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
    let bytes = [
        _mm256_unpacklo_epi64(ab_low, cd_low),
        _mm256_unpackhi_epi64(ab_low, cd_low),
        _mm256_unpacklo_epi64(ab_high, cd_high),
        _mm256_unpackhi_epi64(ab_high, cd_high),
    ];
    for (bytes, eight) in bytes.into_iter().zip(words.chunks_exact_mut(8)) {
        let mut bytes = _mm256_permutevar8x32_epi32(bytes, halves_in_turn);
        for word in eight.iter_mut().rev() {
            *word = _mm256_movemask_epi8(bytes) as u32;
            bytes = _mm256_add_epi8(bytes, bytes);
        }
    }
}

/// Swaps the two off-diagonal quarters of ever smaller squares (Warren, Hacker's Delight, 7-3).
fn transpose_portable(words: &mut [u32; 32]) {
    let mut half = 16;
    let mut mask = 0x0000_ffff_u32;
    while half != 0 {
        let mut low = 0;
        while low < 32 {
            let difference = ((words[low] >> half) ^ words[low + half]) & mask;
            words[low] ^= difference << half;
            words[low + half] ^= difference;
            low = (low + half + 1) & !half;
        }
        half >>= 1;
        mask ^= mask << half;
    }
}

/// Bit `column` of every row, as a word.
#[inline]
pub(crate) fn column(words: &[u32; 32], column: u32) -> u32 {
    let mut found = 0;
    for (row, word) in words.iter().enumerate() {
        found |= (word >> column & 1) << row;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transposed_tile_has_its_columns_as_rows() {
        let mut state = 1_u32;
        let words: [u32; 32] = std::array::from_fn(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state ^ state >> 13
        });
        let mut turned = words;
        transpose(&mut turned);
        for c in 0..32 {
            assert_eq!(turned[c as usize], column(&words, c));
        }
        transpose_portable(&mut turned);
        assert_eq!(turned, words);
    }
}
