//! Labels as few words: hexadecimal digests, UUIDs and integers take half their text or less.
//!
//! The form of a label says how its words are to be read. Each label has exactly one form, so equal
//! labels have equal words; and labels of one form and length order as their words do.

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;
use std::cmp::Ordering;
use std::hash::Hasher;

/// How the words of a label are to be read. Fits in a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form(pub(super) u8);

impl Form {
    /// A number without leading zeros.
    const INTEGER: Form = Form(0);
    /// 8-4-4-4-12 lower-case hexadecimal digits.
    const UUID: Form = Form(1);
    /// Groups of eight lower-case hexadecimal digits, this many and at most …
    const LEAST_GROUPS: usize = 2;
    const MOST_GROUPS: usize = 16;
    /// Text of at most this many bytes; its form is the number of bytes behind that of digests.
    const SHORT: usize = 200;
    const TEXT: u8 = 32;
    /// Longer text: its first word is the number of bytes.
    const LONG: Form = Form(255);

    fn groups(self) -> Option<usize> {
        let groups = usize::from(self.0);
        (Self::LEAST_GROUPS..=Self::MOST_GROUPS).contains(&groups).then_some(groups)
    }

    /// How many of these words, which begin with those of the label, are the label's.
    pub(super) fn words(self, words: &[u64]) -> usize {
        match self {
            Form::INTEGER => 1,
            Form::UUID => 2,
            Form::LONG => 1 + (words[0] as usize).div_ceil(8),
            _ => match self.groups() {
                Some(groups) => groups.div_ceil(2),
                None => usize::from(self.0 - Self::TEXT).div_ceil(8),
            },
        }
    }
}

/// Room for the words of a label.
#[derive(Debug, Clone, Default)]
pub(super) struct Words {
    few: [u64; 8],
    many: Vec<u64>,
}

/// A label, packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packed<'a> {
    pub(super) form: Form,
    pub(super) words: &'a [u64],
}

/// A label, packed, with its hash: what is to be counted a little later.
#[derive(Debug, Clone)]
pub(crate) struct Later {
    form: Form,
    length: usize,
    words: Words,
    pub(super) hash: u64,
}

impl Default for Later {
    fn default() -> Self {
        Later { form: Form(Form::TEXT), length: 0, words: Words::default(), hash: 0 }
    }
}

impl Later {
    /// Takes another label.
    pub(crate) fn set(&mut self, label: &str) {
        let packed = Packed::new(label, &mut self.words);
        (self.form, self.length, self.hash) = (packed.form, packed.words.len(), packed.hash());
    }

    /// The memory that it takes, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + size_of::<u64>() * self.words.many.capacity()
    }

    pub(super) fn label(&self) -> Packed<'_> {
        let Words { few, many } = &self.words;
        let words = if self.length <= few.len() { &few[..self.length] } else { many };
        Packed { form: self.form, words }
    }
}

impl<'a> Packed<'a> {
    /// Packs a label; its words go where there is room for them.
    #[inline]
    pub(super) fn new(label: &str, room: &'a mut Words) -> Self {
        let bytes = label.as_bytes();
        let packed = match bytes.len() {
            8..=15 => integer(bytes, room),
            36 => uuid(bytes, room),
            length if length % 8 == 0 && length > 8 && length <= 8 * Form::MOST_GROUPS => digest(bytes, room),
            _ => None,
        };
        let (form, words) = match packed {
            Some((form, words)) => (form, &room.few[..words]),
            None => text(bytes, room),
        };
        Packed { form, words }
    }

    /// The hash by which the label is found among others. It is another one in each process, so that
    /// nobody can make labels that collide without knowing the seed; nothing that is stored or told
    /// depends on it.
    ///
    /// foldhash multiplies by what it is given, and a factor of zero forgets the rest. The label is
    /// thus not met by a constant: what it is mixed with first comes of the process's seed alone. Of its
    /// two kinds only the slower one has leading bits, which choose a slot, that are random for numbers
    /// in a row under every seed.
    pub(super) fn hash(self) -> u64 {
        #[cfg(test)]
        if let Some(hash) = HASH.get() {
            return hash(self);
        }
        let mut hasher = FoldHasher::with_seed(0, SharedSeed::global_random());
        hasher.write_u128(u128::from(STEP));
        hasher.write_u8(self.form.0);
        self.words.iter().for_each(|&word| hasher.write_u64(word));
        hasher.finish()
    }

    /// What stands for the label in what is stored: 64 bits that are the same in every process, on
    /// every platform and in every version.
    ///
    /// Each step is a bijection of the state for a given word and of the word for a given state, so no
    /// word can make the others forgotten. The key is known to all who count, and has to be: whoever
    /// crafts labels for this very function can have them taken for one another in an estimate.
    pub(super) fn fingerprint(self) -> u64 {
        let first = mixed(STEP ^ u64::from(self.form.0));
        self.words.iter().fold(first, |state, &word| mixed(state.wrapping_add(STEP) ^ word))
    }

    /// The label that was packed.
    pub(super) fn unpack(self) -> String {
        let Packed { form, words } = self;
        let text = |words: &[u64], length: usize| {
            let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            bytes.truncate(length);
            String::from_utf8(bytes).unwrap_or_default()
        };
        match form {
            Form::INTEGER => words[0].to_string(),
            Form::UUID => {
                let digits = format!("{:016x}{:016x}", words[0], words[1]);
                [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
            }
            Form::LONG => text(&words[1..], words[0] as usize),
            _ => match form.groups() {
                Some(groups) => {
                    let mut digits: String = words.iter().map(|word| format!("{word:016x}")).collect();
                    digits.truncate(8 * groups);
                    digits
                }
                None => text(words, usize::from(form.0 - Form::TEXT)),
            },
        }
    }
}

/// 2⁶⁴ over the golden ratio, as in SplitMix64.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014; the constants are Stafford's thirteenth).
fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

impl PartialOrd for Packed<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The order of the labels as text.
impl Ord for Packed<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let is_ordered_by_words =
            self.form == other.form && self.form != Form::INTEGER && self.form != Form::LONG;
        if is_ordered_by_words { self.words.cmp(other.words) } else { self.unpack().cmp(&other.unpack()) }
    }
}

/// Eight to fifteen digits: fewer fit into a word as text, more might not as a number.
fn integer(digits: &[u8], room: &mut Words) -> Option<(Form, usize)> {
    if digits[0] == b'0' {
        return None;
    }
    let mut number = 0;
    for &digit in digits {
        number = 10 * number + u64::from(digit.checked_sub(b'0').filter(|&value| value < 10)?);
    }
    room.few[0] = number;
    Some((Form::INTEGER, 1))
}

/// Pairs of groups of eight digits; the last may be alone.
fn digest(digits: &[u8], room: &mut Words) -> Option<(Form, usize)> {
    let groups = digits.len() / 8;
    for (word, pair) in room.few.iter_mut().zip(digits.chunks(16)) {
        let low = if pair.len() > 8 { hexadecimal(&pair[8..])? } else { 0 };
        *word = hexadecimal(&pair[..8])? << 32 | low;
    }
    Some((Form(groups as u8), groups.div_ceil(2)))
}

fn uuid(text: &[u8], room: &mut Words) -> Option<(Form, usize)> {
    let middle = |a: usize, b: usize| {
        let mut digits = [0; 8];
        digits[..4].copy_from_slice(&text[a..a + 4]);
        digits[4..].copy_from_slice(&text[b..b + 4]);
        hexadecimal(&digits)
    };
    let is_dashed = [8, 13, 18, 23].iter().all(|&at| text[at] == b'-');
    room.few[0] = hexadecimal(&text[..8])? << 32 | middle(9, 14)?;
    room.few[1] = middle(19, 24)? << 32 | hexadecimal(&text[28..])?;
    is_dashed.then_some((Form::UUID, 2))
}

fn text<'a>(bytes: &[u8], room: &'a mut Words) -> (Form, &'a [u64]) {
    let words = bytes.chunks(8).map(left_aligned);
    if bytes.len() <= 8 * room.few.len() {
        room.few.iter_mut().zip(words).for_each(|(room, word)| *room = word);
        return (Form(Form::TEXT + bytes.len() as u8), &room.few[..bytes.len().div_ceil(8)]);
    }
    room.many.clear();
    if bytes.len() > Form::SHORT {
        room.many.push(bytes.len() as u64);
    }
    room.many.extend(words);
    let is_short = bytes.len() <= Form::SHORT;
    (if is_short { Form(Form::TEXT + bytes.len() as u8) } else { Form::LONG }, &room.many)
}

/// Up to eight bytes as a word, the first byte on top.
fn left_aligned(bytes: &[u8]) -> u64 {
    match bytes.try_into() {
        Ok(whole) => u64::from_be_bytes(whole),
        Err(_) => {
            let word = bytes.iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
            word << (64 - 8 * bytes.len())
        }
    }
}

/// The value of eight lower-case hexadecimal digits, worked out side by side in one word.
fn hexadecimal(digits: &[u8]) -> Option<u64> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let digits = u64::from_be_bytes(digits.try_into().ok()?);
    // '0' … '9' are 0x30 … 0x39, 'a' … 'f' are 0x61 … 0x66: the letters have bit 6.
    let values = (digits & (0x0f * ONES)).wrapping_add(9 * (digits >> 6 & ONES));
    // Values up to 15 that give the same text when written out again.
    let letters = values.wrapping_add(0x76 * ONES) >> 7 & ONES;
    let again = values.wrapping_add(0x30 * ONES).wrapping_add(0x27 * letters);
    if values & (0xf0 * ONES) != 0 || digits != again {
        return None;
    }
    let bytes = (values | values >> 4) & 0x00ff_00ff_00ff_00ff;
    let pairs = (bytes | bytes >> 8) & 0x0000_ffff_0000_ffff;
    Some((pairs | pairs >> 16) & 0xffff_ffff)
}

#[cfg(test)]
type Hash = fn(Packed<'_>) -> u64;

#[cfg(test)]
thread_local! {
    /// What the tests of this thread take for a hash instead.
    pub(super) static HASH: std::cell::Cell<Option<Hash>> = const { std::cell::Cell::new(None) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels() -> impl Strategy<Value = String> {
        prop_oneof![
            "[0-9a-f]{32}",
            "[0-9a-f]{40}",
            "[0-9a-f]{64}",
            "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
            "[0-9a-fA-F-]{0,44}",
            "[0-9]{0,24}",
            "[1-9][0-9]{7,14}",
            "[a-c\0]{0,9}",
            ".{0,40}",
            "[xyz]{190,300}",
        ]
    }

    #[test]
    fn digests_take_half_their_text() {
        for (label, form, length) in [
            ("da39a3ee5e6b4b0d3255bfef95601890afd80709", Form(5), 3),
            ("d41d8cd98f00b204e9800998ecf8427e", Form(4), 2),
            ("123e4567-e89b-12d3-a456-426614174000", Form::UUID, 2),
            ("1630454400000", Form::INTEGER, 1),
            ("API", Form(Form::TEXT + 3), 1),
            ("DA39A3EE", Form(Form::TEXT + 8), 1),
            ("", Form(Form::TEXT), 0),
        ] {
            let mut words = Words::default();
            let packed = Packed::new(label, &mut words);
            assert_eq!((packed.form, packed.words.len()), (form, length), "{label}");
        }
    }

    #[test]
    fn every_byte_is_told_from_a_digit() {
        for place in 0..8 {
            for byte in 0..=255 {
                let mut digits = *b"00000000";
                digits[place] = byte;
                let expected = std::str::from_utf8(&digits).ok().filter(|_| !byte.is_ascii_uppercase());
                let expected = expected.and_then(|text| u64::from_str_radix(text, 16).ok());
                assert_eq!(hexadecimal(&digits), expected.filter(|_| byte != b'+'), "{byte} at {place}");
            }
        }
    }

    fn fingerprint(label: &str) -> u64 {
        Packed::new(label, &mut Words::default()).fingerprint()
    }

    #[test]
    fn fingerprints_are_what_they_were() {
        for (label, known) in [
            ("", 0xeaeb_7f27_b54e_2401_u64),
            ("API", 0xe977_1c78_5cb3_423a),
            ("1630454400000", 0x6cf1_a2c9_cb84_34b3),
            ("123e4567-e89b-12d3-a456-426614174000", 0xb0a4_7ef9_09db_e94f),
            ("da39a3ee5e6b4b0d3255bfef95601890afd80709", 0x93a7_832d_8805_f41e),
        ] {
            assert_eq!(fingerprint(label), known, "{label}");
        }
        let long = "https://example.org/".repeat(20);
        assert_eq!(fingerprint(&long), 0x2b6e_8814_c417_12af);
        // The first number that SplitMix64 makes of the seed 0.
        assert_eq!(mixed(STEP), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn each_bit_of_a_label_changes_half_the_bits_of_its_fingerprint() {
        let digits = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
        for place in 0..digits.len() {
            let mut changed = 0;
            let others = (0..16u8).map(|digit| char::from_digit(u32::from(digit), 16).unwrap_or_default());
            for digit in others {
                let other = format!("{}{digit}{}", &digits[..place], &digits[place + 1..]);
                changed += (fingerprint(digits) ^ fingerprint(&other)).count_ones();
            }
            let mean = f64::from(changed) / 15.0;
            assert!((26.0..38.0).contains(&mean), "{mean} at {place}");
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(label in labels()) {
            let mut words = Words::default();
            let packed = Packed::new(&label, &mut words);
            prop_assert_eq!(packed.form.words(packed.words), packed.words.len());
            prop_assert_eq!(packed.unpack(), label);
        }

        #[test]
        fn packed_labels_compare_as_text(a in labels(), b in labels()) {
            let (mut p, mut q) = (Words::default(), Words::default());
            let (p, q) = (Packed::new(&a, &mut p), Packed::new(&b, &mut q));
            prop_assert_eq!(p.cmp(&q), a.cmp(&b));
            prop_assert_eq!(p == q, a == b);
        }
    }
}
