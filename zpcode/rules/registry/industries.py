"""Industries by GB/T 4754-2017: a section letter and two to four digits, `C3525` for mould making.

All two-digit divisions are listed here with their sections. The third and fourth digit (group and class) are not
checked against a list: the service uses only the division.
"""

from __future__ import annotations

import re
from typing import Final

from zpcode.wire.vocabulary import Bilingual

_CODE = re.compile(r"([A-T]?)([0-9]{2})([0-9]{0,2})", re.ASCII)
# section letter, then the first and last division in it
_SECTIONS: Final = {
    "A": (1, 5),
    "B": (6, 12),
    "C": (13, 43),
    "D": (44, 46),
    "E": (47, 50),
    "F": (51, 52),
    "G": (53, 60),
    "H": (61, 62),
    "I": (63, 65),
    "J": (66, 69),
    "K": (70, 70),
    "L": (71, 72),
    "M": (73, 75),
    "N": (76, 79),
    "O": (80, 82),
    "P": (83, 83),
    "Q": (84, 85),
    "R": (86, 90),
    "S": (91, 96),
    "T": (97, 97),
}
_TABLE = """
01 农业 Agriculture
02 林业 Forestry
03 畜牧业 Animal husbandry
04 渔业 Fishery
05 农、林、牧、渔专业及辅助性活动 Support services to agriculture, forestry and fishery
06 煤炭开采和洗选业 Coal mining and washing
07 石油和天然气开采业 Oil and gas extraction
08 黑色金属矿采选业 Ferrous metal ore mining
09 有色金属矿采选业 Non-ferrous metal ore mining
10 非金属矿采选业 Non-metallic mineral mining
11 开采专业及辅助性活动 Mining support services
12 其他采矿业 Other mining
13 农副食品加工业 Processing of farm and aquatic products
14 食品制造业 Food manufacturing
15 酒、饮料和精制茶制造业 Alcoholic drinks, beverages and refined tea
16 烟草制品业 Tobacco products
17 纺织业 Textiles
18 纺织服装、服饰业 Clothing and accessories
19 皮革、毛皮、羽毛及其制品和制鞋业 Leather, fur, feather products and footwear
20 木材加工和木、竹、藤、棕、草制品业 Wood, bamboo, rattan and straw products
21 家具制造业 Furniture
22 造纸和纸制品业 Paper and paper products
23 印刷和记录媒介复制业 Printing and reproduction of recorded media
24 文教、工美、体育和娱乐用品制造业 Stationery, crafts, sports and recreational goods
25 石油、煤炭及其他燃料加工业 Petroleum, coal and other fuel processing
26 化学原料和化学制品制造业 Chemicals and chemical products
27 医药制造业 Pharmaceuticals
28 化学纤维制造业 Chemical fibres
29 橡胶和塑料制品业 Rubber and plastic products
30 非金属矿物制品业 Non-metallic mineral products
31 黑色金属冶炼和压延加工业 Smelting and rolling of ferrous metals
32 有色金属冶炼和压延加工业 Smelting and rolling of non-ferrous metals
33 金属制品业 Metal products
34 通用设备制造业 General-purpose machinery
35 专用设备制造业 Special-purpose machinery
36 汽车制造业 Motor vehicles and parts
37 铁路、船舶、航空航天和其他运输设备制造业 Railway, ship, aerospace and other transport equipment
38 电气机械和器材制造业 Electrical machinery and equipment
39 计算机、通信和其他电子设备制造业 Computers, communication and other electronic equipment
40 仪器仪表制造业 Measuring instruments
41 其他制造业 Other manufacturing
42 废弃资源综合利用业 Recycling of waste resources
43 金属制品、机械和设备修理业 Repair of metal products, machinery and equipment
44 电力、热力生产和供应业 Electricity and heat supply
45 燃气生产和供应业 Gas supply
46 水的生产和供应业 Water supply
47 房屋建筑业 Construction of buildings
48 土木工程建筑业 Civil engineering
49 建筑安装业 Building installation
50 建筑装饰、装修和其他建筑业 Building decoration and other construction
51 批发业 Wholesale
52 零售业 Retail
53 铁路运输业 Railway transport
54 道路运输业 Road transport
55 水上运输业 Water transport
56 航空运输业 Air transport
57 管道运输业 Pipeline transport
58 多式联运和运输代理业 Multimodal transport and forwarding
59 装卸搬运和仓储业 Cargo handling and storage
60 邮政业 Postal services
61 住宿业 Accommodation
62 餐饮业 Catering
63 电信、广播电视和卫星传输服务 Telecommunications, broadcasting and satellite transmission
64 互联网和相关服务 Internet services
65 软件和信息技术服务业 Software and information technology services
66 货币金融服务 Monetary and financial services
67 资本市场服务 Capital market services
68 保险业 Insurance
69 其他金融业 Other financial services
70 房地产业 Real estate
71 租赁业 Leasing
72 商务服务业 Business services
73 研究和试验发展 Research and experimental development
74 专业技术服务业 Professional technical services
75 科技推广和应用服务业 Promotion and application of science and technology
76 水利管理业 Water conservancy management
77 生态保护和环境治理业 Ecological protection and environmental treatment
78 公共设施管理业 Management of public facilities
79 土地管理业 Land management
80 居民服务业 Residential services
81 机动车、电子产品和日用产品修理业 Repair of vehicles, electronics and household goods
82 其他服务业 Other services
83 教育 Education
84 卫生 Health care
85 社会工作 Social work
86 新闻和出版业 News and publishing
87 广播、电视、电影和录音制作业 Broadcasting, television, film and sound recording
88 文化艺术业 Culture and arts
89 体育 Sports
90 娱乐业 Entertainment
91 中国共产党机关 Organs of the Communist Party of China
92 国家机构 State organs
93 人民政协、民主党派 People's political consultative conference and democratic parties
94 社会保障 Social security
95 群众团体、社会团体和其他成员组织 Mass organisations and associations
96 基层群众自治组织及其他组织 Grass-roots self-governing organisations
97 国际组织 International organisations
"""


def _read(table: str) -> dict[str, Bilingual]:
    rows = (line.split(" ", 2) for line in table.strip().splitlines())
    return {code: Bilingual(zh, en) for code, zh, en in rows}


DIVISIONS: Final = _read(_TABLE)


def section_of(division: str) -> str:
    """The section letter of a two-digit division: `35` → `C`. Empty for an unknown division."""
    number = int(division)
    return next((letter for letter, (first, last) in _SECTIONS.items() if first <= number <= last), "")


def industry(text: str) -> str | None:
    """A code in its full form, letter and digits; None if there is no such division.

    The letter may be left out; if it is given, it has to be that of the division.
    """
    match = _CODE.fullmatch(text)
    if match is None or match[2] not in DIVISIONS:
        return None
    letter = section_of(match[2])
    return f"{letter}{match[2]}{match[3]}" if match[1] in {"", letter} else None


def industry_name(code: str) -> Bilingual:
    """The name of the division of a code; the code itself if the division is unknown."""
    return DIVISIONS.get(code[1:3], Bilingual(code, code))
