/* synth_words.c: the tables of synth_words.h. Brands are invented. */
#include "data/synth_words.h"

const char *const synth_locales[SYNTH_LOCALES] = {"us", "es", "jp"};

/* clang-format off */
const struct synth_type synth_types[SYNTH_TYPES] = {
    {{{"headphones", "earphones"}, {"auriculares", "cascos"}, {"ヘッドホン", "イヤホン"}}, "Electronics > Audio > Headphones", 60},
    {{{"phone", "smartphone"}, {"teléfono", "móvil"}, {"スマホ", "携帯電話"}}, "Electronics > Phones > Phones", 400},
    {{{"laptop", "notebook computer"}, {"portátil", "ordenador personal"}, {"ノートパソコン", "ラップトップ"}}, "Electronics > Computers > Laptops", 800},
    {{{"camera", "photo camera"}, {"cámara", "máquina de fotos"}, {"カメラ", "デジカメ"}}, "Electronics > Cameras > Cameras", 350},
    {{{"tablet", "touch screen pad"}, {"tableta", "pantalla táctil"}, {"タブレット", "タッチ端末"}}, "Electronics > Computers > Tablets", 250},
    {{{"coffee maker", "espresso machine"}, {"cafetera", "máquina de café"}, {"コーヒーメーカー", "珈琲マシン"}}, "Home > Kitchen > Coffee Makers", 80},
    {{{"blender", "smoothie maker"}, {"batidora", "licuadora"}, {"ミキサー", "ブレンダー"}}, "Home > Kitchen > Blenders", 50},
    {{{"kettle", "water boiler"}, {"hervidor", "tetera eléctrica"}, {"やかん", "電気ケトル"}}, "Home > Kitchen > Kettles", 30},
    {{{"frying pan", "skillet"}, {"sartén", "paellera"}, {"フライパン", "炒め鍋"}}, "Home > Kitchen > Pans", 35},
    {{{"vacuum cleaner", "hoover"}, {"aspiradora", "aspirador"}, {"掃除機", "クリーナー"}}, "Home > Cleaning > Vacuums", 150},
    {{{"mattress", "bed foam"}, {"colchón", "espuma de cama"}, {"マットレス", "敷布団"}}, "Home > Bedroom > Mattresses", 300},
    {{{"desk lamp", "table light"}, {"lámpara de mesa", "flexo"}, {"デスクライト", "卓上ランプ"}}, "Home > Lighting > Lamps", 25},
    {{{"running shoes", "trainers"}, {"zapatillas", "deportivas"}, {"ランニングシューズ", "運動靴"}}, "Clothing > Shoes > Running", 90},
    {{{"backpack", "rucksack"}, {"mochila", "macuto"}, {"リュック", "バックパック"}}, "Clothing > Bags > Backpacks", 45},
    {{{"jacket", "coat"}, {"chaqueta", "abrigo"}, {"ジャケット", "上着"}}, "Clothing > Outerwear > Jackets", 70},
    {{{"watch", "timepiece"}, {"reloj", "cronógrafo"}, {"腕時計", "ウォッチ"}}, "Clothing > Jewellery > Watches", 120},
    {{{"bicycle", "bike"}, {"bicicleta", "bici"}, {"自転車", "バイシクル"}}, "Sports > Cycling > Bicycles", 350},
    {{{"tent", "camping shelter"}, {"tienda de campaña", "carpa"}, {"テント", "天幕"}}, "Sports > Camping > Tents", 110},
    {{{"yoga mat", "exercise mat"}, {"esterilla de yoga", "colchoneta"}, {"ヨガマット", "運動マット"}}, "Sports > Fitness > Mats", 25},
    {{{"fishing rod", "angling pole"}, {"caña de pescar", "vara de pesca"}, {"釣り竿", "ロッド"}}, "Sports > Fishing > Rods", 60},
    {{{"electric drill", "power driver"}, {"taladro", "taladradora"}, {"電動ドリル", "穴あけ機"}}, "Tools > Power Tools > Drills", 75},
    {{{"lawn mower", "grass cutter"}, {"cortacésped", "segadora"}, {"芝刈り機", "草刈り機"}}, "Tools > Garden > Mowers", 220},
    {{{"guitar", "six string"}, {"guitarra", "seis cuerdas"}, {"ギター", "アコギ"}}, "Music > Strings > Guitars", 180},
    {{{"stroller", "pushchair"}, {"cochecito", "carrito de bebé"}, {"ベビーカー", "乳母車"}}, "Baby > Travel > Strollers", 190},
    {{{"headphone case", "earphone pouch"}, {"funda de auriculares", "estuche de cascos"}, {"ヘッドホンケース", "イヤホンポーチ"}}, "Electronics > Audio > Cases", 12},
    {{{"phone case", "smartphone cover"}, {"funda de teléfono", "carcasa de móvil"}, {"スマホケース", "携帯カバー"}}, "Electronics > Phones > Cases", 15},
    {{{"laptop sleeve", "notebook bag"}, {"funda de portátil", "maletín de ordenador"}, {"パソコンケース", "PCバッグ"}}, "Electronics > Computers > Sleeves", 25},
    {{{"camera lens", "zoom objective"}, {"objetivo de cámara", "lente"}, {"カメラレンズ", "交換レンズ"}}, "Electronics > Cameras > Lenses", 200},
    {{{"tablet stand", "pad holder"}, {"soporte de tableta", "atril"}, {"タブレットスタンド", "端末台"}}, "Electronics > Computers > Stands", 20},
    {{{"coffee filters", "paper filters"}, {"filtros de café", "filtros de papel"}, {"コーヒーフィルター", "ペーパーフィルター"}}, "Home > Kitchen > Filters", 8},
    {{{"blender jar", "smoothie cup"}, {"jarra de batidora", "vaso de licuadora"}, {"ミキサーボトル", "ブレンダーカップ"}}, "Home > Kitchen > Jars", 18},
    {{{"descaler", "limescale remover"}, {"descalcificador", "antical"}, {"水垢洗浄剤", "除去剤"}}, "Home > Kitchen > Descalers", 9},
    {{{"pan lid", "skillet cover"}, {"tapa de sartén", "tapadera"}, {"フライパン蓋", "鍋ぶた"}}, "Home > Kitchen > Lids", 14},
    {{{"vacuum bags", "dust bags"}, {"bolsas de aspiradora", "bolsas de polvo"}, {"掃除機パック", "紙パック"}}, "Home > Cleaning > Bags", 13},
    {{{"mattress protector", "bed cover"}, {"protector de colchón", "cubrecama"}, {"マットレスカバー", "ベッドパッド"}}, "Home > Bedroom > Protectors", 28},
    {{{"light bulb", "led bulb"}, {"bombilla", "foco led"}, {"電球", "LEDランプ"}}, "Home > Lighting > Bulbs", 7},
    {{{"shoe laces", "shoestrings"}, {"cordones", "agujetas"}, {"靴紐", "シューレース"}}, "Clothing > Shoes > Laces", 6},
    {{{"backpack rain cover", "rucksack hood"}, {"funda de lluvia", "cubremochila"}, {"レインカバー", "防水カバー"}}, "Clothing > Bags > Covers", 12},
    {{{"fabric proofer", "repellent spray"}, {"impermeabilizante", "spray protector"}, {"防水スプレー", "撥水剤"}}, "Clothing > Outerwear > Care", 11},
    {{{"watch strap", "wrist band"}, {"correa de reloj", "pulsera de recambio"}, {"時計ベルト", "替えバンド"}}, "Clothing > Jewellery > Straps", 16},
    {{{"bike lock", "cycle chain"}, {"candado de bicicleta", "antirrobo"}, {"自転車鍵", "ワイヤーロック"}}, "Sports > Cycling > Locks", 22},
    {{{"tent pegs", "ground stakes"}, {"piquetas", "clavijas"}, {"ペグ", "テント杭"}}, "Sports > Camping > Pegs", 10},
    {{{"yoga strap", "stretching belt"}, {"correa de yoga", "cinta elástica"}, {"ヨガベルト", "ストレッチ帯"}}, "Sports > Fitness > Straps", 9},
    {{{"fishing line", "angling thread"}, {"hilo de pescar", "sedal"}, {"釣り糸", "ライン"}}, "Sports > Fishing > Lines", 10},
    {{{"drill bits", "boring tips"}, {"brocas", "puntas de taladro"}, {"ドリルビット", "ドリル刃"}}, "Tools > Power Tools > Bits", 19},
    {{{"mower blade", "cutter knife"}, {"cuchilla de cortacésped", "hoja de segadora"}, {"芝刈り刃", "替刃"}}, "Tools > Garden > Blades", 24},
    {{{"guitar strings", "nickel strings"}, {"cuerdas de guitarra", "cuerdas de níquel"}, {"ギター弦", "弦セット"}}, "Music > Strings > Strings", 9},
    {{{"stroller organizer", "pushchair bag"}, {"organizador de cochecito", "bolso de carrito"}, {"ベビーカーバッグ", "収納ポーチ"}}, "Baby > Travel > Organizers", 17},
};
/* clang-format on */

const char *const synth_brands[SYNTH_BRANDS] = {
    "Norvika",  "Tavello", "Brimlow", "Quandry",     "Ostrelle",  "Keltmar",
    "Zuviro",   "Palenza", "Hexward", "Miraldo",     "Fennick",   "Dorvane",
    "Ilumetra", "Saltrix", "Vantoro", "Griswen",     "Cadolfi",   "Yorvik",
    "Belcanta", "Truvane", "Ombriel", "Jaskova",     "Neldrin",   "Rovanto",
    "Pexwell",  "Lumadra", "Karvino", "Thessaly Co", "Wendover",  "Arquelle",
    "Umbrano",  "Exolto",  "Fjordal", "Corvinia",    "Mistrelle", "Oakhaven",
};

const char *const synth_colors[SYNTH_COLORS][SYNTH_LOCALES] = {
    {"black", "negro", "黒"},   {"white", "blanco", "白"},  {"red", "rojo", "赤"},
    {"blue", "azul", "青"},     {"green", "verde", "緑"},   {"yellow", "amarillo", "黄色"},
    {"pink", "rosa", "ピンク"}, {"grey", "gris", "グレー"}, {"brown", "marrón", "茶色"},
    {"purple", "morado", "紫"},
};

const char *const synth_attributes[SYNTH_ATTRIBUTES][SYNTH_LOCALES] = {
    {"waterproof", "impermeable", "防水"},    {"wireless", "inalámbrico", "ワイヤレス"},
    {"lightweight", "ligero", "軽量"},        {"foldable", "plegable", "折りたたみ"},
    {"for kids", "para niños", "子供用"},     {"heavy duty", "reforzado", "頑丈"},
    {"rechargeable", "recargable", "充電式"}, {"professional", "profesional", "プロ用"},
    {"compact", "compacto", "コンパクト"},    {"eco friendly", "ecológico", "エコ"},
    {"silent", "silencioso", "静音"},         {"extra large", "extra grande", "特大"},
};

const char *const synth_sizes[SYNTH_SIZES] = {"S", "M", "L", "XL", "20 cm", "35 cm"};

const char *const synth_price_words[3][SYNTH_LOCALES] = {
    {"", "", ""},
    {"cheap", "barato", "安い"},
    {"premium", "de lujo", "高級"},
};

const char *const synth_sentences[SYNTH_SENTENCES][SYNTH_LOCALES] = {
    {"Made with care for everyday use.", "Hecho con cuidado para el uso diario.",
     "毎日使えるように丁寧に作られています。"},
    {"A great gift for family and friends.", "Un gran regalo para familia y amigos.",
     "家族や友人への贈り物に最適です。"},
    {"Two years of warranty included.", "Incluye dos años de garantía.",
     "2年間の保証付きです。"},
    {"Tested in our own laboratory.", "Probado en nuestro propio laboratorio.",
     "自社の研究所で検査済みです。"},
    {"Ships in plain recyclable packaging.", "Se envía en un embalaje reciclable.",
     "リサイクル可能な箱でお届けします。"},
    {"Contact us with any question.", "Escríbenos si tienes cualquier duda.",
     "ご質問はお気軽にお問い合わせください。"},
    {"Designed to last for many years.", "Diseñado para durar muchos años.",
     "長く使える設計です。"},
    {"Rated highly by thousands of buyers.", "Muy valorado por miles de compradores.",
     "多くの購入者から高い評価を得ています。"},
};

const char *const synth_phrases[PHRASES][SYNTH_LOCALES][2] = {
    [PHRASE_FITS] = {{"fits your ", ""}, {"compatible con ", ""}, {"", "対応"}},
    [PHRASE_COLOR] = {{"Colour: ", ""}, {"Color: ", ""}, {"色：", ""}},
    [PHRASE_FEATURE] = {{"Our customers love that it is ", "."},
                        {"A nuestros clientes les gusta que sea ", "."},
                        {"お客様に好評の", "タイプです。"}},
    [PHRASE_MAKER] = {{"By ", ", since 1987"}, {"De ", ", desde 1987"}, {"", "製"}},
    [PHRASE_SIZE] = {{"Size: ", ""}, {"Talla: ", ""}, {"サイズ：", ""}},
};
