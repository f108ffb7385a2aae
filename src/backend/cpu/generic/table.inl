// The table of one ISA; included last inside its namespace.

inline const Kernels& table(std::string_view isa) {
  static const Kernels kernels{isa,     linear,    quantize,   rms_norm,    silu_mul, sigmoid_mul, gated_norm,
                               l2_norm, conv_silu, delta_step, delta_chunk, attend,   to_f16,      dot_peak};
  return kernels;
}
