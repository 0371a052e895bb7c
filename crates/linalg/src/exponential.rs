//! exp and ln in `f32`, the same on every system: the system's functions round in their own ways.

/// Number of intervals between powers of two.
const INTERVALS: u64 = 32;

/// 2^(i / 32), rounded.
const POWERS: [f64; INTERVALS as usize] = [
    1.0,
    1.021_897_148_654_116_6,
    1.044_273_782_427_413_8,
    1.067_140_400_676_823_7,
    1.090_507_732_665_257_7,
    1.114_386_742_595_892_4,
    1.138_788_634_756_691_6,
    1.163_724_858_777_577_5,
    1.189_207_115_002_721,
    1.215_247_359_980_469,
    1.241_857_812_073_484,
    1.269_050_957_191_733_2,
    1.296_839_554_651_009_6,
    1.325_236_643_159_741_3,
    1.354_255_546_936_892_7,
    1.383_909_881_963_832,
    std::f64::consts::SQRT_2,
    1.445_180_806_977_046_7,
    1.476_826_145_939_499_3,
    1.509_164_427_593_422_8,
    1.542_210_825_407_940_7,
    1.575_980_845_107_886_5,
    1.610_490_331_949_254_3,
    1.645_755_478_153_965,
    1.681_792_830_507_429,
    1.718_619_298_122_478,
    1.756_252_160_373_299_5,
    1.794_709_075_003_107_2,
    1.834_008_086_409_342_4,
    1.874_167_634_110_3,
    1.915_206_561_397_147_4,
    1.957_144_124_175_400_2,
];

/// The cubic, square and linear coefficients of 2^(r / 32) for |r| of at most 1/2, with an error below 0.002 ulp of
/// `f32`.
const P: [f64; 3] = [1.6938359250920212e-06, 0.00023459809789509004, 0.021660849396613134];

/// Computes e^x in `f64`, and rounds. Fewer than one in 400 results are not the nearest number, by less than
/// 0.51 ulp. NaN gives NaN.
///
/// e^x = 2^(i / 32) 2^k 2^(r / 32), where i + 32 k is 32 x / ln 2 rounded, and r the rest.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    /// Adding it rounds to an integer, which is then in the low bits.
    const ROUND: f64 = 1.5 * (1_u64 << 52) as f64;

    // Beyond, the result is 0 or infinite.
    let z = f64::from(x.clamp(-200.0, 200.0)) * (INTERVALS as f64 * std::f64::consts::LOG2_E);
    let rounded = z + ROUND;
    let r = z - (rounded - ROUND);
    let bits = rounded.to_bits();
    let interval = POWERS[(bits % INTERVALS) as usize].to_bits();
    let power = f64::from_bits(interval.wrapping_add((bits / INTERVALS) << 52));
    let [cubic, square, linear] = P;
    let rest = cubic.mul_add(r, square).mul_add(r * r, linear.mul_add(r, 1.0));
    (rest * power) as f32
}

/// Computes ln x in `f64`, and rounds.
pub(crate) fn ln(x: f32) -> f32 {
    libm::log(f64::from(x)) as f32
}
