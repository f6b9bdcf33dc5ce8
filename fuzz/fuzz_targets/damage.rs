//! Damage to what was stored: most of it still decodes.

use rmpv::Value;

/// Which number or array is damaged, how, and by what.
pub(crate) type Edit = [u8; 11];

/// Numbers at the ends of what is possible.
pub(crate) const ODD: [f64; 16] = [
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::MAX,
    f64::MIN,
    f64::MIN_POSITIVE,
    5e-324,
    1e99,
    -1e99,
    1e150,
    -1e150,
    1e-9,
    -0.0,
    0.0,
    1.0,
    -1.0,
];

/// MessagePack with these edits.
pub(crate) fn damaged(stored: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut value = rmpv::decode::read_value(&mut &stored[..]).expect("MessagePack");
    edits.iter().for_each(|edit| damage(&mut value, edit));
    let mut damaged = Vec::new();
    rmpv::encode::write_value(&mut damaged, &value).expect("a vector can be written");
    damaged
}

/// Replaces a number by another of its kind, or takes an element of an array away or doubles one.
fn damage(stored: &mut Value, &[place, high, how, payload @ ..]: &Edit) {
    let place = usize::from(u16::from_le_bytes([place, high]));
    let number = i64::from_le_bytes(payload);
    let is_wanted: fn(&Value) -> bool = if how < 230 { is_number } else { is_filled };
    let count = count(stored, is_wanted);
    let Some(wanted) = place.checked_rem(count).and_then(|mut place| find(stored, &mut place, is_wanted))
    else {
        return;
    };
    match wanted {
        Value::Array(array) if how % 2 == 0 => {
            array.remove(usize::from(payload[0]) % array.len());
        }
        Value::Array(array) => {
            let at = usize::from(payload[0]) % array.len();
            array.insert(at, array[at].clone());
        }
        Value::F64(x) => {
            *x = match how % 4 {
                0 => f64::from_bits(number as u64),
                1 => ODD[usize::from(payload[0]) % ODD.len()],
                2 => -*x,
                _ => *x + f64::from(payload[0] as i8),
            }
        }
        Value::F32(x) => {
            *x = if how % 2 == 0 { f32::from_bits(number as u32) } else { *x + f32::from(payload[0] as i8) }
        }
        Value::Integer(x) => {
            let near = i64::from(payload[0] as i8);
            *x = match how % 4 {
                0 => number.into(),
                1 => near.into(),
                2 => x.as_i64().map_or(0, |x| x.wrapping_add(near)).into(),
                _ => [
                    0,
                    i64::MAX as u64,
                    u64::MAX,
                    u32::MAX.into(),
                    u16::MAX.into(),
                    1 << 62,
                    253_402_300_799_999,
                ][usize::from(payload[0]) % 7]
                    .into(),
            };
        }
        // What has 128 bits.
        Value::Binary(bytes) => {
            let at = usize::from(payload[0]) % bytes.len();
            bytes[at] ^= payload[1];
        }
        _ => {}
    }
}

fn is_number(value: &Value) -> bool {
    matches!(value, Value::F64(_) | Value::F32(_) | Value::Integer(_))
        || matches!(value, Value::Binary(bytes) if !bytes.is_empty())
}

fn is_filled(value: &Value) -> bool {
    matches!(value, Value::Array(array) if !array.is_empty())
}

fn count(value: &Value, is_wanted: fn(&Value) -> bool) -> usize {
    let inside = value.as_array().map_or(0, |array| array.iter().map(|value| count(value, is_wanted)).sum());
    inside + usize::from(is_wanted(value))
}

/// The wanted value that has so many before it.
fn find<'a>(
    value: &'a mut Value,
    before: &mut usize,
    is_wanted: fn(&Value) -> bool,
) -> Option<&'a mut Value> {
    if is_wanted(value) {
        if *before == 0 {
            return Some(value);
        }
        *before -= 1;
    }
    match value {
        Value::Array(array) => array.iter_mut().find_map(|value| find(value, before, is_wanted)),
        _ => None,
    }
}
