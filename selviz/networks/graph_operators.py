"""The operators that a stored network may have, by name: nothing is allowed because torch has it.

TRACED and TRACED_MODULES are what tracing produces of a small network of each family of torchvision and timm and of
selviz's own (`python -m selviz.testing.operator_census`, in both ways; a test asks it again of a few families).
REVIEWED and REVIEWED_MODULES were added by hand, each read in torch's documentation: what computes on whole tensors, or
checks its own arguments against their shapes. Left out on purpose: names that begin with `_`, `*_backward`, `unsafe_*`;
what writes into its argument (`add_`: a network is shared by all visitors); what makes its result's shape or loops from
values (`nonzero`, `masked_select`, `item`); memory that nobody has written (`empty`); sparse, quantized and
nested tensors; reading by strides (`as_strided`: `memory_steps` puts a look-up by a stored index in its place); linear
algebra that iterates (`matrix_exp`, `svd`); random numbers but for dropout; recurrent and loss functions with
raw indices (`ctc_loss`).
"""

# Names of functions, of methods of tensors, and of aten's operators, whose overloads all do the same.
TRACED = """
    adaptive_avg_pool2d add addcmul alias amax arange avg_pool1d avg_pool2d batch_norm bitwise_not cat chunk
    clamp clamp_min contiguous conv1d conv2d conv_transpose2d cos cumsum div dropout einsum eq expand expand_as
    flatten flip float gelu group_norm hardsigmoid hardswish index interpolate layer_norm linalg_vector_norm
    linear masked_fill matmul max_pool2d mean meshgrid mul ne neg new_zeros norm normalize one_hot pad permute
    pow relu repeat_interleave reshape reshape_as rms_norm roll rsqrt rsub scaled_dot_product_attention select
    sigmoid silu sin size slice softmax split split_with_sizes square squeeze stack sub sum swapaxes sym_size
    tanh tile to transpose type_as unbind unflatten unfold unsqueeze upsample_bicubic2d upsample_bilinear2d
    upsample_nearest2d view zeros
""".split()
REVIEWED = """
    abs absolute adaptive_avg_pool1d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
    addmm affine_grid alpha_dropout amin arccos arcsin arctan argmax argmin asin atan atan2 atleast_1d atleast_2d
    atleast_3d avg_pool3d baddbmm bilinear bmm bool broadcast_to ceil celu channel_shuffle clip clone concat
    concatenate conv3d conv_transpose1d conv_transpose3d copysign cosh cosine_similarity count_nonzero cross cumprod
    detach diff dim dot double dropout1d dropout2d dropout3d dstack elu embedding erf erfc exp exp2 expm1
    feature_alpha_dropout feature_dropout fliplr flipud floor floor_divide fmax fmin fmod fold frac full full_like
    gather ge glu greater greater_equal grid_sample gt half hardshrink hardtanh hsplit hstack hypot index_select
    inner instance_norm int is_contiguous is_floating_point isfinite isinf isnan kron le leaky_relu lerp less
    less_equal lgamma lift_fresh lift_fresh_copy local_response_norm log log10 log1p log2 log_sigmoid log_softmax
    logaddexp logical_and logical_not logical_or logical_xor logsigmoid logsumexp long lp_pool1d lp_pool2d lt max
    max_pool1d max_pool1d_with_indices max_pool2d_with_indices max_pool3d maximum min minimum mish mm moveaxis
    movedim multiply mv nan_to_num nanmean nansum narrow ndimension negative new_full new_ones not_equal numel ones
    ones_like outer pairwise_distance pixel_shuffle pixel_unshuffle prelu prod ravel reciprocal relu6 remainder
    repeat resolve_conj resolve_neg rot90 round rrelu scalar_tensor selu sgn sign sinc sinh softmin softplus
    softshrink softsign sort sqrt std std_mean stride subtract swapdims sym_numel sym_stride t take_along_dim tan
    tanhshrink tensor_split tensordot threshold topk tril triu true_divide trunc upsample upsample_linear1d
    upsample_nearest1d upsample_nearest3d upsample_trilinear3d var var_mean vector_norm view_as vsplit vstack where
    xlogy zeros_like
    copy diagonal_scatter fill index_put select_scatter slice_scatter
    index_add index_copy index_fill scatter scatter_add
    gru_cell lstm_cell rnn_relu_cell rnn_tanh_cell
""".split()
OPERATORS = """
    add sub mul truediv floordiv mod pow neg pos abs matmul eq ne lt le gt ge and_ or_ xor invert not_ getitem
    iadd isub imul itruediv ifloordiv imatmul
""".split()
TRACED_MODULES = """
    AdaptiveAvgPool2d AvgPool1d AvgPool2d BatchNorm1d BatchNorm2d Conv1d Conv2d ConvTranspose2d Dropout Flatten
    GELU Hardsigmoid Hardswish Identity LayerNorm Linear MaxPool2d MultiheadAttention ReLU ReLU6 SiLU Sigmoid
    StochasticDepth Tanh Upsample
""".split()
REVIEWED_MODULES = """
    AdaptiveAvgPool1d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d AlphaDropout AvgPool3d
    BatchNorm3d Bilinear CELU ChannelShuffle CircularPad1d CircularPad2d CircularPad3d ConstantPad1d ConstantPad2d
    ConstantPad3d Conv3d ConvTranspose1d ConvTranspose3d CosineSimilarity Dropout1d Dropout2d Dropout3d ELU
    Embedding FeatureAlphaDropout Fold GLU GroupNorm GRU GRUCell Hardshrink Hardtanh InstanceNorm1d InstanceNorm2d
    InstanceNorm3d LeakyReLU LocalResponseNorm LogSigmoid LogSoftmax LPPool1d LPPool2d LSTM LSTMCell MaxPool1d
    MaxPool3d Mish PixelShuffle PixelUnshuffle PReLU ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d
    ReplicationPad2d ReplicationPad3d RMSNorm RNN RNNCell RReLU SELU Softmax Softmax2d Softmin Softplus
    Softshrink Softsign
    SyncBatchNorm Tanhshrink Threshold TransformerEncoderLayer Unflatten Unfold
    UpsamplingBilinear2d UpsamplingNearest2d ZeroPad1d ZeroPad2d ZeroPad3d
""".split()
# Those that look something up, and where: the first argument is what is looked in, but for these, where it is the
# index.
INDEXING = "index index_put getitem gather index_select take_along_dim embedding one_hot".split()
# Those that write at an index, their third argument: what is written may depend on the image.
WRITING = "index_add index_copy index_fill scatter scatter_add".split()
INDEX_FIRST = ("embedding", "one_hot")  # torch.nn.functional's; aten's embedding takes the table first
# What asks for a shape or a type, which no pixel decides.
SHAPES = "size dim ndimension stride numel is_contiguous is_floating_point sym_size sym_numel sym_stride".split()


def allowed(name: str) -> bool:
    """Return whether a function, method or aten operator of this plain name may be a step of a stored network."""
    return name in _ALLOWED


_ALLOWED = frozenset(TRACED) | frozenset(REVIEWED)
