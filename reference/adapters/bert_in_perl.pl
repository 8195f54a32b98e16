# BERT's embeddings in Perl, in double, as a program that `minibert check` asks (reference/INTERPRETING.md): level L1. For
# L2 `computed` adds `bert.encoder.layer.N.output`.   minibert check bert/published --program "perl bert_in_perl.pl"
use strict; use warnings; use JSON::PP;
$| = 1;    # an answer is sent when it is written

# ---- what is checked: yours. Tensors are {shape, data}, row-major
sub computed {
    my ($config, $weights, $inputs) = @_;
    my ($word, $position, $type, $weight, $bias) = map { $weights->{"bert.embeddings.$_"}{data} }
        map({ "${_}_embeddings.weight" } qw(word position token_type)), qw(LayerNorm.weight LayerNorm.bias);
    my ($rows, $length) = @{$inputs->{input_ids}{shape}};
    my ($width, @y) = ($config->{hidden_size});
    for my $i (0 .. $rows * $length - 1) {
        my @at = map { $_ * $width } $inputs->{input_ids}{data}[$i], $i % $length, $inputs->{segment_ids}{data}[$i];
        my @x = map { $word->[$at[0] + $_] + $position->[$at[1] + $_] + $type->[$at[2] + $_] } 0 .. $width - 1;
        my ($mean, $variance) = (0, 0);
        $mean += $_ / $width for @x; $variance += ($_ - $mean) ** 2 / $width for @x;
        my $root = sqrt($variance + $config->{layer_norm_eps});
        push @y, map { $weight->[$_] * ($x[$_] - $mean) / $root + $bias->[$_] } 0 .. $width - 1;
    }
    return ('bert.embeddings' => {shape => [$rows, $length, $width], data => \@y});
}

# ---- safetensors: 8 bytes N (little-endian), N bytes of JSON that say where each tensor lies, then the tensors
sub bytes { open my $file, '<:raw', $_[0] or die "$_[0]: $!\n"; local $/; return <$file> }
sub tensors {
    my ($all, %kind, %found) = (bytes($_[0]), F64 => 'd<*', F32 => 'f<*', I64 => 'q<*');
    my $n = unpack 'Q<', $all; my $header = decode_json(substr $all, 8, $n);
    for (keys %$header) {
        my ($kind, $shape, $at) = @{$header->{$_}}{qw(dtype shape data_offsets)};
        my $own = substr $all, 8 + $n + $at->[0], $at->[1] - $at->[0];
        $found{$_} = {shape => $shape, data => [unpack $kind{$kind}, $own]};
    }
    return \%found;
}
sub written {
    my ($path, %held) = @_;
    my ($header, $all) = ({}, '');
    for (sort keys %held) {
        my $begin = length $all;
        $all .= pack 'd<*', @{$held{$_}{data}};
        $header->{$_} = {dtype => 'F64', shape => $held{$_}{shape}, data_offsets => [$begin, length $all]};
    }
    open my $file, '>:raw', $path or die "$path: $!\n";
    print $file pack('Q<', length encode_json $header), encode_json($header), $all;
}

# ---- the four commands
my $case;
my %commands = (
    start => sub { {families => ['bert'], levels => [1]} },
    case => sub { $case = $_[0]{folder}; {} },
    dump => sub {
        my $config = decode_json(bytes("$case/case.json"))->{config};
        my %found = computed($config, map { tensors("$case/$_.safetensors") } qw(weights inputs));
        written("$_[0]{folder}/forward.safetensors", %found);
        {folder => $_[0]{folder}} },
    stop => sub { exit 0 },
);
while (<STDIN>) { my $asked = decode_json($_); print encode_json($commands{$asked->{command}}->($asked)), "\n" }
